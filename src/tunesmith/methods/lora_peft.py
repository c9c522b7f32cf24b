"""LoRA in PEFT's words: adapter_config.json from settings, and settings from it."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.core.numbers import many
from tunesmith.engine.forward import Engine
from tunesmith.engine.low_rank import LowRank, difference
from tunesmith.methods import token_rows
from tunesmith.methods.adapter import (
    CONFIG,
    PREFIX,
    Adapter,
    Changes,
    Difference,
    number,
    of_layer,
    pattern,
)
from tunesmith.methods.lora import (
    Shape,
    choose,
    key_a,
    key_a0,
    key_b,
    key_b0,
    key_m,
    matches,
    shape,
    targeted,
)
from tunesmith.methods.lora_start import TAKEN

SHOWN_LAYERS = 8  # names in a message
SHOWN_RANKS = 3  # layers whose rank is another
START_A, MAGNITUDE = key_a0("").removeprefix(PREFIX), key_m("").removeprefix(PREFIX)

# What another value of these would mean is not implemented; read as they are, they change nothing.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    # others change the base itself before they train, and their files hold only a part of that
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "megatron_config": (None, {}),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None, []),
    "use_bdlora": (None, False),
    "lora_bias": (False, None),
}

# Of every adapter that is written.
_PLAIN: dict[str, object] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "modules_to_save": None,
}


def to_peft(adapter: Adapter, engine: Engine) -> dict[str, object]:
    """The LoRA part of adapter_config.json; ranks and alphas that differ go into the patterns."""
    settings = adapter.settings
    assert isinstance(settings, LoraSettings)
    shapes = choose(settings, list(engine.linears))
    # What a start took from W is stored as further columns, at the same scale.
    times = 2 if settings.start in TAKEN else 1
    grow = math.sqrt(times) if settings.rslora else times
    return {
        **_PLAIN,
        "r": times * settings.rank,
        "lora_alpha": _plain(grow * settings.alpha),
        "lora_dropout": settings.dropout,
        "target_modules": _shortest_names(list(shapes), list(engine.linears)),
        "use_rslora": settings.rslora,
        "use_dora": settings.dora,
        "trainable_token_indices": token_rows.to_peft(engine, adapter.name),
        "rank_pattern": {n: times * s.rank for n, s in shapes.items() if s.rank != settings.rank},
        "alpha_pattern": {
            n: _plain(grow * s.alpha) for n, s in shapes.items() if s.alpha != settings.alpha
        },
    }


def described(shapes: Mapping[str, Shape], targets: Sequence[str]) -> dict[str, object]:
    """The LoRA part of adapter_config.json for terms of any shapes; what differs is in patterns."""
    pairs = [(s.rank, s.alpha) for s in shapes.values()]
    rank, alpha = max(pairs, key=pairs.count)  # the most common one
    return {
        **_PLAIN,
        "r": rank,
        "lora_alpha": _plain(alpha),
        "lora_dropout": 0.0,
        "target_modules": list(targets),
        "use_rslora": False,
        "use_dora": False,
        "trainable_token_indices": None,
        "rank_pattern": {name: s.rank for name, s in shapes.items() if s.rank != rank},
        "alpha_pattern": {n: _plain(s.alpha) for n, s in shapes.items() if s.alpha != alpha},
    }


def write(adapter: Adapter) -> dict[str, Tensor]:
    """The tensors by PEFT's names, in the format that the settings ask for.

    A start that was taken from W is part of A and B.
    """
    settings = adapter.settings
    assert isinstance(settings, LoraSettings)
    tensors = {name: p.detach() for name, p in adapter.parameters.items()}
    for name in [name for name in tensors if name.endswith(START_A)]:
        module = name.removeprefix(PREFIX).removesuffix(START_A)
        start = (tensors.pop(name), tensors.pop(key_b0(module)))
        a, b = key_a(module), key_b(module)
        tensors[a], tensors[b] = difference((tensors[a], tensors[b]), start)
    dtype: torch.dtype = getattr(torch, settings.dtype)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def _plain(alpha: float) -> int | float:
    """Others parse lora_alpha as an integer."""
    return int(alpha) if alpha == int(alpha) else alpha


def _shortest_names(chosen: Sequence[str], linears: Sequence[str]) -> list[str]:
    """Last parts of the names where that means the same layers, else the whole names."""
    leaves = {name.rpartition(".")[2] for name in chosen}
    meant = [name for name in linears if name.rpartition(".")[2] in leaves]
    return sorted(leaves) if meant == list(chosen) else sorted(chosen)


def from_peft(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> LoraSettings:
    """Settings that attach an adapter of these tensors; AdapterError for what is not LoRA here."""
    odd = [
        f"{key} = {config[key]!r}"
        for key, allowed in _NEUTRAL.items()
        if key in config and config[key] not in allowed
    ]
    dora = bool(config.get("use_dora"))
    suffixes = (".lora_A.weight", ".lora_B.weight", *([MAGNITUDE] if dora else []))
    keys = {key for key in tensors if key.endswith(suffixes)}
    if token_rows.ids_of(config):
        keys |= {key for key in tensors if key.endswith(token_rows.SUFFIX)}
    odd += [f"tensor {key}" for key in sorted(tensors.keys() - keys)[:5]]
    modules = sorted(
        {k.removeprefix(PREFIX).rpartition(".lora_")[0] for k in keys if ".lora_" in k}
    )
    lonely = [m for m in modules if key_a(m) not in keys or key_b(m) not in keys]
    odd += [f"{module} has only one of A and B" for module in lonely]
    odd += [f"{m} has no magnitude" for m in modules if dora and key_m(m) not in keys][:5]
    if odd or not modules:
        raise _strange(odd or ["no LoRA tensors"])
    ranks = {m: tensors[key_a(m)].shape[0] for m in modules}
    default = number(config, "r", ranks[modules[0]])
    _require_ranks(config, {m: (ranks[m], tensors[key_b(m)].shape[-1]) for m in modules})
    alpha = number(config, "lora_alpha", default)
    patterns = pattern(config, "alpha_pattern")
    alphas = {m: of_layer(patterns, m, alpha) for m in modules}
    return _settings(
        rank=int(default),
        alpha=alpha,
        dropout=number(config, "lora_dropout", 0.0),
        targets=tuple(modules),
        rslora=bool(config.get("use_rslora", False)),
        dora=dora,
        dtype=_number_format(tensors[key_a(modules[0])].dtype),
        rank_pattern={m: rank for m, rank in ranks.items() if rank != default},
        alpha_pattern={m: a for m, a in alphas.items() if not math.isclose(a, alpha)},
    )


def _strange(found: Sequence[str]) -> AdapterError:
    return AdapterError(
        f"The adapter has what LoRA here does not: {'; '.join(found)}.",
        remedy="Merge it with the tool that made it, and use the merged model as base.",
    )


def _settings(**values: object) -> LoraSettings:
    """Raises AdapterError for values that mean nothing here, though PEFT computes with them."""
    try:
        return LoraSettings.model_validate(values)
    except ValidationError as error:
        faults = [f"{e['loc'][0]} {e['input']!r} ({e['msg']})" for e in error.errors()]
        raise _strange(faults) from error


def _require_ranks(config: Mapping[str, object], found: Mapping[str, tuple[int, int]]) -> None:
    """Raise AdapterError where PEFT would make other shapes than A [R, D_in] and B [D_out, R] have.

    ``found``: the R of A and of B by layer.
    """
    patterns = pattern(config, "rank_pattern")
    plain = number(config, "r", math.nan)
    stated = {m: of_layer(patterns, m, plain) for m in found}
    odd = {m: s for m, s in stated.items() if not math.isnan(s) and found[m] != (s, s)}
    if not odd:
        return
    named = [
        f"{m} has rank {' and '.join(f'{r}' for r in dict.fromkeys(found[m]))} instead of {s:g}"
        for m, s in list(odd.items())[:SHOWN_RANKS]
    ]
    more = f", and {many(len(odd) - SHOWN_RANKS, 'more layer')}" if len(odd) > SHOWN_RANKS else ""
    raise AdapterError(
        f"Its tensors have other ranks than r = {config.get('r')!r} and rank_pattern of "
        f"{CONFIG} say: {', '.join(named)}{more}.",
        remedy="Copy the folder again; where only the config was changed, put the tensors' rank "
        "back as r.",
    )


def merge(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> Changes:
    """What merging a stored adapter makes of its base; a layer's tensors are read at its turn."""
    settings = from_peft(config, tensors)
    changes = {f"{n}.weight": partial(_merged, tensors, settings, n) for n in settings.targets}
    ids = torch.tensor(list(token_rows.ids_of(config)))
    for key in tensors:
        if key.endswith(token_rows.SUFFIX):
            module = key.removeprefix(PREFIX).removesuffix(token_rows.SUFFIX)
            changes[f"{module}.weight"] = partial(token_rows.put, ids, tensors[key].float())
    return changes


def _merged(
    tensors: Mapping[str, Tensor], settings: LoraSettings, module: str, weight: Tensor
) -> Tensor:
    """W' of one layer's W [D_out, D_in]; the masters are in fp32, as where they are attached."""
    a, b = (nn.Parameter(tensors[key(module)].float()) for key in (key_a, key_b))
    term = LowRank(a, b, shape(settings, module).scale)
    if settings.dora:
        term.magnitude = nn.Parameter(tensors[key_m(module)].float())
    return term.merged(weight)


def misfits(engine: Engine, tensors: Mapping[str, Tensor]) -> list[str]:
    """What of an adapter's tensors does not fit the base, each with what was expected."""
    found = []
    for key, tensor in tensors.items():
        if key.endswith(token_rows.SUFFIX):
            found += token_rows.misfits(engine, key, tensor)
            continue
        module, _, part = key.removeprefix(PREFIX).rpartition(".lora_")
        linear = engine.linears.get(module)
        if linear is None:
            found.append(f"{module} is no linear layer of it")
            continue
        axis, width = (1, linear.in_features) if part[0] == "A" else (0, linear.out_features)
        dims = 1 if key.endswith(MAGNITUDE) else 2
        if tensor.dim() != dims or tensor.shape[axis] != width:
            found.append(f"{key} has shape {list(tensor.shape)}, the layer's width is {width}")
    return found


def differences(engine: Engine, asked: LoraSettings, found: LoraSettings) -> list[Difference]:
    """The keys in which a run asks for another term than ``found``, that of an adapter's folder.

    What is meant counts, not how it is written: all-linear, or the names of all layers. How the
    term is trained and saved from now on (dropout, freeze_a, ...) is the run's own.
    """
    names = list(engine.linears)
    wanted, there = targeted(asked, names), targeted(found, names)
    differing = [
        Difference(key, getattr(asked, key), getattr(found, key))
        for key in ("rslora", "dora")
        if getattr(asked, key) != getattr(found, key)
    ]
    if wanted == there:
        choose(asked, names)  # refuses patterns without effect
    else:
        layers = _shortest_names(there, names)
        count = f"{many(len(layers), 'layer')} by name"
        many_layers = count if len(layers) > SHOWN_LAYERS else layers
        shown = "all-linear" if there == names else many_layers
        differing.append(Difference("targets", asked.targets, shown))
    shapes = [(n, shape(asked, n), shape(found, n)) for n in wanted if n in there]
    for key in ("rank", "alpha"):
        differing += _differing_numbers(key, asked, shapes)
    return differing


def _differing_numbers(
    key: str, asked: LoraSettings, layers: Sequence[tuple[str, Shape, Shape]]
) -> list[Difference]:
    """Ranks or alphas that differ, under the key that asked for them: the plain or the pattern."""
    patterns: Mapping[str, float] = getattr(asked, f"{key}_pattern")
    found: dict[str, set[float]] = {}
    for name, wanted, there in layers:
        if not math.isclose(getattr(wanted, key), getattr(there, key)):
            is_pattern = any(matches(name, pattern) for pattern in patterns)
            of = f"{key}_pattern" if is_pattern else key
            found.setdefault(of, set()).add(getattr(there, key))
    return [
        Difference(of, getattr(asked, of), " and ".join(f"{value:g}" for value in sorted(values)))
        for of, values in found.items()
    ]


def _number_format(dtype: torch.dtype) -> Literal["float32", "bfloat16", "float16"]:
    if dtype == torch.bfloat16:
        return "bfloat16"
    return "float16" if dtype == torch.float16 else "float32"
