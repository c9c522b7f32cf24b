"""LoRA: y = W x + (alpha / rank) B A x, with W frozen (arXiv 2106.09685, section 4.1).

With rsLoRA the scale is alpha / sqrt(rank) (arXiv 2312.03732). A starts uniform in
+-1/sqrt(D_in) and B at zero, so that the start equals the base.
"""

import fnmatch
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import Engine
from tunesmith.engine.linear import LowRank, SeamLinear
from tunesmith.errors import ConfigError
from tunesmith.methods import token_rows
from tunesmith.methods.adapter import NO_WORDS, PREFIX, Adapter, Words


def key_a(module: str) -> str:
    """PEFT's name of A [R, D_in] beside a linear layer."""
    return f"{PREFIX}{module}.lora_A.weight"


def key_b(module: str) -> str:
    """PEFT's name of B [D_out, R] beside a linear layer."""
    return f"{PREFIX}{module}.lora_B.weight"


def matches(name: str, pattern: str) -> bool:
    """Whether a layer's dotted name is meant: by its last parts, or by a glob with `*`."""
    if any(sign in pattern for sign in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return name == pattern or name.endswith("." + pattern)


@dataclass(frozen=True, slots=True)
class Shape:
    """Rank and scale of the term beside one layer."""

    rank: int
    alpha: float
    scale: float


def choose(settings: LoraSettings, linears: Sequence[str]) -> dict[str, Shape]:
    """The layers that get a term, with their ranks; ConfigError for a pattern without effect."""
    chosen = list(linears)
    if settings.targets != "all-linear":
        chosen = [n for n in linears if any(matches(n, t) for t in settings.targets)]
        _refuse_idle("targets", settings.targets, linears)
    _refuse_idle("rank_pattern", settings.rank_pattern, chosen)
    _refuse_idle("alpha_pattern", settings.alpha_pattern, chosen)
    return {name: _shape(settings, name) for name in chosen}


def _refuse_idle(
    key: str, patterns: Sequence[str] | Mapping[str, object], names: Sequence[str]
) -> None:
    idle = [p for p in patterns if not any(matches(n, p) for n in names)]
    if idle:
        leaves = ", ".join(sorted({n.rpartition(".")[2] for n in names}))
        raise ConfigError(
            f"LoRA {key} {idle} name no linear layer; this model has {leaves}.",
            remedy=f"Set method.{key} to some of these.",
        )


def _shape(settings: LoraSettings, name: str) -> Shape:
    def last(pattern: Mapping[str, float], default: float) -> float:
        hits = [value for p, value in pattern.items() if matches(name, p)]
        return hits[-1] if hits else default

    rank = int(last(settings.rank_pattern, settings.rank))
    alpha = last(settings.alpha_pattern, settings.alpha)
    return Shape(rank, alpha, alpha / (math.sqrt(rank) if settings.rslora else rank))


def attach(
    engine: Engine,
    settings: LoraSettings,
    *,
    name: str = "default",
    seed: int = 0,
    words: Words = NO_WORDS,
) -> Adapter:
    """Put a new LoRA adapter beside the chosen layers of the base; equals the base at first.

    The rows of new tokens are trained with it.
    """
    shapes = choose(settings, list(engine.linears))
    parameters: dict[str, nn.Parameter] = {}
    terms: list[tuple[SeamLinear, LowRank]] = []
    for module, shape in shapes.items():
        linear = engine.linears[module]
        device = linear.weight.device
        a = nn.Parameter(_uniform(shape.rank, linear.in_features, f"{seed}:{module}").to(device))
        b = nn.Parameter(torch.zeros(linear.out_features, shape.rank, device=device))
        terms.append((linear, LowRank(a, b, shape.scale, settings.dropout)))
        parameters[key_a(module)], parameters[key_b(module)] = a, b
    for linear, term in terms:
        linear.terms[name] = term
    decayed = frozenset(parameters)
    parameters |= token_rows.attach(engine, words.new_tokens, name=name)

    def refresh() -> None:
        for _, term in terms:
            term.refresh()

    def detach() -> None:
        for linear, _ in terms:
            linear.terms.pop(name, None)
        engine.vocabularies.pop(name, None)

    return Adapter(
        name=name,
        settings=settings,
        parameters=parameters,
        refresh=refresh,
        detach=detach,
        decayed=decayed,
    )


def _uniform(rank: int, width: int, key: str) -> Tensor:
    """A [R, D_in] drawn by its own generator, so that other layers do not change it."""
    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little")
    bound = 1 / math.sqrt(width)
    a = torch.empty(rank, width)
    return a.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
