"""LoRA in PEFT's format: adapter_config.json from settings, and settings from it."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from pydantic import ValidationError
from torch import Tensor

from tunesmith.config.methods import LoraSettings
from tunesmith.config.settings import reason
from tunesmith.core.errors import AdapterError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.forward import Engine
from tunesmith.engine.term import Term, difference
from tunesmith.methods import token_rows
from tunesmith.methods.adapter import PREFIX, Adapter
from tunesmith.methods.lora import Shape, key_a, key_b
from tunesmith.methods.lora_parameters import (
    experts_of,
    misfit,
    stated_rank,
    stored_parameters,
    wrappers,
)
from tunesmith.methods.lora_variants import (
    TAKEN,
    RowNorms,
    chosen,
    key_a0,
    key_b0,
    key_m,
    shape,
)
from tunesmith.methods.peft import (
    CONFIG,
    Config,
    Difference,
    Factors,
    Stored,
    Terms,
    layers_text,
    master,
    number,
    number_format,
    pattern,
    plain_read,
    strange,
)
from tunesmith.methods.targets import (
    matches,
    of_layer,
    shortest_names,
    shortest_parameters,
    targeted,
    targeted_parameters,
)

PEFT_TYPES = ("LORA",)
read = plain_read
SHOWN_LAYERS = 8  # names in a message
SHOWN_KEYS = ("alpha", "rslora", "dora", "rank_pattern", "alpha_pattern")
SHOWN_PATTERNS = 4  # layers with a rank of their own
SHOWN_RANKS = 3  # layers whose rank is another
START_A, MAGNITUDE = key_a0("").removeprefix(PREFIX), key_m("").removeprefix(PREFIX)

# Other values of these are not implemented; the values listed change nothing.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    # others change the base before training, and their files hold only a part of that
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "megatron_config": (None, {}),
    "alora_invocation_tokens": (None, []),
    "use_bdlora": (None, False),
    "lora_bias": (False, None),
}


def to_peft(adapter: Adapter, engine: Engine) -> dict[str, object]:
    """The LoRA part of adapter_config.json; ranks and alphas that differ go into the patterns."""
    settings = adapter.settings
    assert isinstance(settings, LoraSettings)
    # What a start took from W is stored as further columns, at the same scale.
    times = 2 if settings.init in TAKEN else 1
    grow = math.sqrt(times) if settings.rslora else times
    names, parameters = list(engine.linears), list(engine.parameters)
    shapes = {
        name: Shape(times * each.rank, grow * each.alpha, each.scale)
        for name, each in chosen(engine, settings).items()
    }
    common = (times * settings.rank, grow * settings.alpha)
    layers = [name for name in shapes if name in engine.linears]
    others = [name for name in shapes if name not in engine.linears]
    return {
        **described(shapes, shortest_names(layers, names), common=common),
        "target_parameters": shortest_parameters(others, parameters) or None,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rslora,
        "use_dora": settings.dora,
        "trainable_token_indices": token_rows.to_peft(engine, adapter.name),
    }


def described(
    shapes: Mapping[str, Shape], targets: Sequence[str], *, common: tuple[int, float] | None = None
) -> dict[str, object]:
    """The LoRA part of adapter_config.json for terms of any shapes; what differs is in patterns.

    ``common``: rank and alpha outside the patterns; None: those that most layers have.
    """
    pairs = [(s.rank, s.alpha) for s in shapes.values()]
    rank, alpha = common or max(pairs, key=pairs.count)
    return {
        "peft_type": "LORA",
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
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


def from_products(
    products: Mapping[str, Factors], targets: Sequence[str]
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Config and tensors of an adapter that adds s B A to each of these layers."""
    tensors, shapes = {}, {}
    for module, (a, b, scale) in products.items():
        tensors[key_a(module)], tensors[key_b(module)] = a, b
        shapes[module] = Shape(len(a), scale * len(a), scale)
    return described(shapes, targets), tensors


def write(adapter: Adapter) -> dict[str, Tensor]:
    """The tensors by PEFT's names, in the settings' number format.

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


def from_peft(config: Config, tensors: Stored) -> LoraSettings:
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
    paths = sorted({k.removeprefix(PREFIX).rpartition(".lora_")[0] for k in keys if ".lora_" in k})
    lonely = [p for p in paths if key_a(p) not in keys or key_b(p) not in keys]
    odd += [f"{path} has only one of A and B" for path in lonely]
    odd += [f"{p} has no magnitude" for p in paths if dora and key_m(p) not in keys][:5]
    if odd or not paths:
        raise strange("LoRA", odd or ["no LoRA tensors"])
    parameters = stored_parameters(config, {path: len(tensors[key_a(path)]) for path in paths})
    modules = [path for path in paths if path not in parameters.values()]
    ranks = {m: tensors[key_a(m)].shape[0] for m in modules}
    default = number(config, "r", ranks[modules[0]] if modules else math.nan)
    _require_ranks(config, {m: (ranks[m], tensors[key_b(m)].shape[-1]) for m in modules})
    for name, path in parameters.items():
        ranks[name] = stated_rank(config, name, tensors[key_a(path)], tensors[key_b(path)])
    alpha = number(config, "lora_alpha", default)
    patterns = pattern(config, "alpha_pattern")
    alphas = {m: of_layer(patterns, m, alpha) for m in ranks}
    return _settings(
        rank=int(default),
        alpha=alpha,
        dropout=number(config, "lora_dropout", 0.0),
        targets=tuple(modules),
        target_parameters=tuple(parameters),
        rslora=bool(config.get("use_rslora", False)),
        dora=dora,
        dtype=number_format(tensors[key_a(paths[0])].dtype),
        rank_pattern={m: rank for m, rank in ranks.items() if rank != default},
        alpha_pattern={m: a for m, a in alphas.items() if not math.isclose(a, alpha)},
    )


def _settings(**values: object) -> LoraSettings:
    """Raises AdapterError for values that are invalid here, though PEFT computes with them."""
    try:
        return LoraSettings.model_validate(values)
    except ValidationError as error:
        faults = [f"{e['loc'][0]} {e['input']!r} ({reason(e)})" for e in error.errors()]
        raise strange("LoRA", faults) from error


def _require_ranks(config: Config, found: Mapping[str, tuple[int, int]]) -> None:
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
    if len(odd) > SHOWN_RANKS:
        named[-1] += f", and {pluralize(len(odd) - SHOWN_RANKS, 'more layer')}"
    raise AdapterError(
        f"Its tensors have other ranks than r = {config.get('r')!r} and rank_pattern of "
        f"{CONFIG} say: {', '.join(named)}.",
        remedy="Copy the folder again; where only the config was changed, put the tensors' rank "
        "back as r.",
    )


def terms(config: Config, tensors: Stored) -> Terms:
    """What a stored adapter adds to each layer and parameter."""
    settings = from_peft(config, tensors)
    paths = {n: n for n in settings.targets} | wrappers(settings.target_parameters)
    return {name: partial(_term, tensors, settings, name, path) for name, path in paths.items()}


def _term(tensors: Stored, settings: LoraSettings, module: str, path: str) -> Term:
    a, b = (master(tensors[key(path)]) for key in (key_a, key_b))
    own = shape(settings, module)
    term = Term(a, b, own.scale, experts=experts_of(len(a), own.rank))
    if settings.dora:
        term.output, term.norms = master(tensors[key_m(module)]), RowNorms()
    return term


def misfits(engine: Engine, tensors: Stored) -> list[str]:
    """What of an adapter's tensors does not fit the base, each with what was expected."""
    found = []
    for key, tensor in tensors.items():
        if key.endswith(token_rows.SUFFIX):
            found += token_rows.misfits(engine, key, tensor)
            continue
        module, _, part = key.removeprefix(PREFIX).rpartition(".lora_")
        linear = engine.linears.get(module)
        if linear is None:
            found += filter(None, [misfit(engine, module, part[0], tensor)])
            continue
        axis, width = (1, linear.in_features) if part[0] == "A" else (0, linear.out_features)
        dims = 1 if key.endswith(MAGNITUDE) else 2
        if tensor.dim() != dims or tensor.shape[axis] != width:
            found.append(f"{key} has shape {list(tensor.shape)}, the layer's width is {width}")
    return found


def differences(engine: Engine, asked: LoraSettings, found: LoraSettings) -> list[Difference]:
    """The keys in which a run asks for another term than ``found``, that of an adapter's folder.

    The layers count, not how they are written: all-linear, or the names of all layers. How the
    term is trained and saved from now on (dropout, freeze_a, ...) is the run's own.
    """
    names, parameters = list(engine.linears), list(engine.parameters)
    wanted, there = (targeted(each.targets, names, method="LoRA") for each in (asked, found))
    stacks, stored = (
        targeted_parameters(each.target_parameters, parameters, method="LoRA")
        for each in (asked, found)
    )
    differing = [
        Difference(key, getattr(asked, key), getattr(found, key))
        for key in ("rslora", "dora")
        if getattr(asked, key) != getattr(found, key)
    ]
    if wanted == there:
        chosen(engine, asked)  # refuses patterns without effect
    else:
        layers = shortest_names(there, names)
        count = f"{pluralize(len(layers), 'layer')} by name"
        many_layers = count if len(layers) > SHOWN_LAYERS else layers
        shown = "all-linear" if there == names else many_layers
        differing.append(Difference("targets", asked.targets, shown))
    if stacks != stored:
        short = shortest_parameters(stored, parameters)
        differing.append(Difference("target_parameters", asked.target_parameters, short))
    common = [n for n in (*wanted, *stacks) if n in {*there, *stored}]
    shapes = [(n, shape(asked, n), shape(found, n)) for n in common]
    for key in ("rank", "alpha"):
        differing += _differing_numbers(key, asked, shapes)
    return differing


def _differing_numbers(
    key: str, asked: LoraSettings, layers: Sequence[tuple[str, Shape, Shape]]
) -> list[Difference]:
    """Ranks or alphas that differ, under the key that set them: the plain or the pattern."""
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


def facts(settings: LoraSettings) -> dict[str, object]:
    """What a list of adapters shows of settings that ``from_peft`` gave: the largest rank first."""
    default = LoraSettings()
    odd = {
        key: _short(getattr(settings, key))
        for key in SHOWN_KEYS
        if getattr(settings, key) != getattr(default, key) or key == "alpha"
    }
    rank = max([settings.rank, *settings.rank_pattern.values()])
    experts = {"parameters": layers_text(named)} if (named := settings.target_parameters) else {}
    return {"rank": rank, **odd, "layers": layers_text(list(settings.targets)), **experts}


def _short(value: object) -> object:
    if not isinstance(value, dict) or len(value) <= SHOWN_PATTERNS:
        return value
    return f"for {pluralize(len(value), 'layer')}"
