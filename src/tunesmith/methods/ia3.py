"""IA3: trained vectors scale keys, values and the inputs of down_proj (arXiv 2205.05638).

y = l (W x + b) beside layers whose outputs are scaled, y = W (l x) + b beside those whose inputs
are (section 3.3, there between the two products of a feedforward block). All l start at 1: the
base as it is. In PEFT's format l is [D_out, 1] or [1, D_in]; here it is a vector, as weight decay
would pull it to 0.
"""

import re
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from tunesmith.config.methods import IA3Settings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.engine.term import Term
from tunesmith.methods.adapter import PREFIX, Adapter, Tensors, beside
from tunesmith.methods.peft import (
    CONFIG,
    REMEDY,
    Config,
    Difference,
    Stored,
    Terms,
    layers_text,
    master,
    not_a_layer,
    number_format,
    strange,
)
from tunesmith.methods.targets import matches, shortest_names, targeted

PEFT_TYPES = ("IA3",)
SUFFIX = ".ia3_l"
FEEDFORWARD = "down_proj"  # whose inputs are scaled where settings do not say
SHOWN = 5  # layers in a message


def plain_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor, *, feedforward: bool
) -> Tensor:
    """IA3 in its plain form, [T, D_in] -> [T, D_out]; l is [D_in] for ``feedforward``."""
    y = (x * scale if feedforward else x) @ weight.t()  # W [D_out, D_in] is frozen
    y = y if bias is None else y + bias
    return y if feedforward else y * scale


def attach(engine: Engine, settings: IA3Settings, *, name: str, **_start: object) -> Adapter:
    """Put new vectors beside the chosen layers of the base; equals the base at first."""
    chosen, inner = _choose(settings, list(engine.linears))
    terms, parameters = {}, {}
    for module in chosen:
        linear = engine.linears[module]
        width = linear.in_features if module in inner else linear.out_features
        scale = nn.Parameter(torch.ones(width, device=linear.weight.device))
        terms[module] = _term(scale, feedforward=module in inner)
        parameters[f"{PREFIX}{module}{SUFFIX}"] = scale
    return beside(engine, terms, parameters, name=name, settings=settings)


def scale_down_(adapter: Adapter, share: float, _: Tensors) -> None:
    """Make each l 1 + ``share`` (l - 1)."""
    with torch.no_grad():
        for scale in adapter.parameters.values():
            scale.lerp_(torch.ones_like(scale), 1.0 - share)
    adapter.refresh()


def to_peft(adapter: Adapter, engine: Engine) -> dict[str, object]:
    """The IA3 part of adapter_config.json, with both lists, as PEFT's own differ by family."""
    settings, names = adapter.settings, list(engine.linears)
    assert isinstance(settings, IA3Settings)
    chosen, inner = _choose(settings, names)
    known = [*names, *engine.other_modules]
    targets, feedforward = shortest_names(chosen, known), shortest_names(inner, known)
    # PEFT matches feedforward_modules by any ending, and requires them among the targets.
    meant = [n for n in chosen if n.endswith(tuple(feedforward))] if feedforward else []
    if meant != inner or not set(feedforward) <= set(targets):
        targets, feedforward = sorted(chosen), sorted(inner)
    return {
        "peft_type": "IA3",
        "target_modules": targets,
        "feedforward_modules": feedforward,
        "fan_in_fan_out": False,
        "init_ia3_weights": True,
        "modules_to_save": None,
    }


def write(adapter: Adapter) -> dict[str, Tensor]:
    """The vectors by PEFT's names and in its shapes, in the settings' number format."""
    settings = adapter.settings
    assert isinstance(settings, IA3Settings)
    dtype: torch.dtype = getattr(torch, settings.dtype)
    modules = [_module(key) for key in adapter.parameters]
    _, inner = _choose(settings, modules)
    return {
        key: scale.detach().to(dtype)[(None,) if _module(key) in inner else (..., None)]
        for key, scale in adapter.parameters.items()
    }


def read(tensors: Stored, adapter: Adapter) -> dict[str, Tensor]:
    """PEFT's tensors as vectors."""
    return {key: tensors[key].flatten() for key in adapter.parameters if key in tensors}


def from_peft(config: Config, tensors: Stored) -> IA3Settings:
    """Settings that attach an adapter of these tensors; AdapterError for what is not IA3 here.

    Whether inputs or outputs are scaled is read from the shapes. A config that contradicts them is
    refused; one may leave it to PEFT's table of families.
    """
    odd = [
        f"{key} = {config[key]!r}"
        for key in ("fan_in_fan_out", "modules_to_save")
        if config.get(key) not in (None, False, [])
    ]
    scales = {_module(key): tensor for key, tensor in tensors.items() if key.endswith(SUFFIX)}
    odd += [f"tensor {key}" for key in sorted(tensors) if not key.endswith(SUFFIX)][:SHOWN]
    odd += [
        f"{module}{SUFFIX} of shape {list(scale.shape)}"
        for module, scale in scales.items()
        if scale.dim() != 2 or 1 not in scale.shape
    ][:SHOWN]
    if odd or not scales:
        raise strange("IA3", odd or ["no vectors"])
    inner = [module for module, scale in scales.items() if scale.shape[0] == 1]
    stated = config.get("feedforward_modules")
    if stated is not None and (named := [m for m in scales if _is_meant(m, stated)]) != inner:
        differing = sorted(set(named) ^ set(inner))[:SHOWN]
        raise AdapterError(
            f"{CONFIG}: feedforward_modules {stated!r} and the shapes of the tensors disagree on "
            f"{', '.join(differing)}: [1, D_in] scales inputs, [D_out, 1] outputs.",
            remedy=REMEDY,
        )
    return IA3Settings(
        targets=tuple(scales),
        feedforward=tuple(inner),
        dtype=number_format(next(iter(scales.values())).dtype),
    )


def terms(config: Config, tensors: Stored) -> Terms:
    """What a stored adapter scales of each layer."""
    settings = from_peft(config, tensors)
    inner = settings.feedforward or ()

    def read_term(module: str) -> Term:
        scale = master(tensors[f"{PREFIX}{module}{SUFFIX}"].flatten())
        return _term(scale, feedforward=module in inner)

    return {module: partial(read_term, module) for module in settings.targets}


def misfits(engine: Engine, tensors: Stored) -> list[str]:
    """What of an adapter's tensors does not fit the base, each with what was expected."""
    found = []
    for key, tensor in tensors.items():
        linear = engine.linears.get(_module(key))
        if linear is None:
            found.append(not_a_layer(engine, _module(key)))
            continue
        width = linear.in_features if tensor.shape[0] == 1 else linear.out_features
        if tensor.numel() != width:
            found.append(f"{key} has shape {list(tensor.shape)}, the layer's width is {width}")
    return found


def differences(engine: Engine, asked: IA3Settings, found: IA3Settings) -> list[Difference]:
    """The keys in which a run asks for other layers than those of an adapter's folder."""
    names = list(engine.linears)
    pairs = zip(
        ("targets", "feedforward"), _choose(asked, names), _choose(found, names), strict=True
    )
    return [
        Difference(key, getattr(asked, key), shortest_names(there, names))
        for key, wanted, there in pairs
        if wanted != there
    ]


def facts(settings: IA3Settings) -> dict[str, object]:
    """What a list of adapters shows of settings that ``from_peft`` gave."""
    inner = settings.feedforward or ()
    outer = [module for module in settings.targets if module not in inner]
    return {"outputs": layers_text(outer), "inputs": layers_text(inner)}


def _choose(settings: IA3Settings, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The layers that get a vector, and those of them whose inputs it scales."""
    chosen = targeted(settings.targets, names, method="IA3")
    if settings.feedforward is None:
        return chosen, [name for name in chosen if matches(name, FEEDFORWARD)]
    return chosen, targeted(settings.feedforward, chosen, method="IA3", key="feedforward")


def _term(scale: nn.Parameter, *, feedforward: bool) -> Term:
    return Term(input=scale) if feedforward else Term(output=scale, whole=True)


def _module(key: str) -> str:
    return key.removeprefix(PREFIX).removesuffix(SUFFIX)


def _is_meant(module: str, stated: object) -> bool:
    """PEFT's rule for feedforward_modules: a list of endings, or one regular expression."""
    if isinstance(stated, str):
        return re.fullmatch(stated, module) is not None
    return isinstance(stated, list) and module.endswith(tuple(map(str, stated)))
