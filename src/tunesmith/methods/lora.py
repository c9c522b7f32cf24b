"""LoRA: y = W x + (alpha / rank) B A x, with W frozen (arXiv 2106.09685, section 4.1).

With rsLoRA the scale is alpha / sqrt(rank) (arXiv 2312.03732), with DoRA each row of W + s B A
gets a trained norm (2402.09353), with LoRA-FA A stays as it starts (2308.03303). QLoRA is the same
over a base in 4 bit (2305.14314).
"""

import fnmatch
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import Engine
from tunesmith.engine.linear import SeamLinear
from tunesmith.engine.low_rank import LowRank
from tunesmith.methods import lora_start, token_rows
from tunesmith.methods.adapter import NO_WORDS, PREFIX, Adapter, Changes, Tensors, Words


def key_a(module: str) -> str:
    """PEFT's name of A [R, D_in] beside a linear layer."""
    return f"{PREFIX}{module}.lora_A.weight"


def key_b(module: str) -> str:
    """PEFT's name of B [D_out, R] beside a linear layer."""
    return f"{PREFIX}{module}.lora_B.weight"


def key_m(module: str) -> str:
    """PEFT's name of DoRA's magnitude [D_out]."""
    return f"{PREFIX}{module}.lora_magnitude_vector"


def key_a0(module: str) -> str:
    """Our name of the A that a start took from W; PEFT's files have it within A."""
    return f"{PREFIX}{module}.start_A.weight"


def key_b0(module: str) -> str:
    """Our name of the B that a start took from W."""
    return f"{PREFIX}{module}.start_B.weight"


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
    chosen = targeted(settings, linears)
    _refuse_idle("rank_pattern", settings.rank_pattern, chosen)
    _refuse_idle("alpha_pattern", settings.alpha_pattern, chosen)
    return {name: shape(settings, name) for name in chosen}


def targeted(settings: LoraSettings, linears: Sequence[str]) -> list[str]:
    """The layers that get a term; ConfigError for a target that names none."""
    if settings.targets == "all-linear":
        return list(linears)
    _refuse_idle("targets", settings.targets, linears)
    return [n for n in linears if any(matches(n, t) for t in settings.targets)]


def _refuse_idle(
    key: str, patterns: Sequence[str] | Mapping[str, object], names: Sequence[str]
) -> None:
    idle = [p for p in patterns if not any(matches(n, p) for n in names)]
    if idle:
        leaves = ", ".join(sorted({n.rpartition(".")[2] for n in names}))
        raise ConfigError(
            f"LoRA {key} {idle} name no linear layer; this model has {leaves}.",
            remedy=f"Set method.{key} to some of these, or to globs: '*.layers.0.*.q_proj'.",
        )


def shape(settings: LoraSettings, name: str) -> Shape:
    """Rank and scale beside a layer of this name."""

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

    With the start `loftq` it is nearer to the base before quantisation. The rows of new tokens
    are trained with it. Raises ConfigError for a start that the base does not allow.
    """
    shapes = choose(settings, list(engine.linears))
    terms: dict[str, LowRank] = {}
    for module, shape in shapes.items():
        terms[module] = _term(engine.linears[module], settings, shape, seed=seed, words=words)
    parameters = {key: p for module, term in terms.items() for key, p in _named(module, term)}
    for module, term in terms.items():
        engine.linears[module].terms[name] = term
    rates = {key_b(module): settings.loraplus_lr_ratio for module in terms}
    parameters |= token_rows.attach(engine, words.new_tokens, name=name)

    def refresh() -> None:
        for term in terms.values():
            term.refresh()

    def detach() -> None:
        for module in terms:
            engine.linears[module].terms.pop(name, None)
        engine.vocabularies.pop(name, None)

    refresh()
    return Adapter(
        name=name,
        settings=settings,
        parameters=parameters,
        refresh=refresh,
        detach=detach,
        rates=rates,
    )


def check(engine: Engine, settings: LoraSettings) -> None:
    """Raise ConfigError for a rank above a layer's smaller side: it can hold nothing more."""
    shapes, linears = choose(settings, list(engine.linears)), engine.linears
    sides = {n: min(linears[n].in_features, linears[n].out_features) for n in shapes}
    high = [n for n, shape in shapes.items() if shape.rank > sides[n]]
    if high:
        raise ConfigError(
            f"Rank {shapes[high[0]].rank} is larger than {len(high)} of the layers, such as "
            f"{high[0]} with a smaller side of {sides[high[0]]}.",
            remedy=f"Set method.rank to {min(sides[n] for n in high)} or less, or another rank "
            "for these layers with method.rank_pattern.",
        )


def merge(engine: Engine, adapter: Adapter) -> Changes:
    """W' of each layer that has a term, and the rows of new tokens.

    Raises AdapterError where the adapter is not attached.
    """
    terms = {n: linear.terms.get(adapter.name) for n, linear in engine.linears.items()}
    changes = {f"{module}.weight": term.merged for module, term in terms.items() if term}
    if not changes:
        raise AdapterError(
            f"Adapter {adapter.name!r} is not attached to this base.", remedy="Load it beside it."
        )
    return {**changes, **token_rows.merge(engine, adapter.name)}


def weaken_(adapter: Adapter, share: float, start: Tensors) -> None:  # noqa: ARG001
    """Multiply s B A of every layer by ``share``, of a start that is taken from W too.

    Raises AdapterError for DoRA, whose norms are no part of the product.
    """
    if getattr(adapter.settings, "dora", False):
        raise AdapterError("An adapter with DoRA cannot be weakened: its norms stay as they are.")
    ends = (key_b(""), key_b0(""))
    for name, parameter in adapter.parameters.items():
        if name.endswith(tuple(end.removeprefix(PREFIX) for end in ends)):
            parameter.data.mul_(share)
    adapter.refresh()


def _term(
    linear: SeamLinear, settings: LoraSettings, shape: Shape, *, seed: int, words: Words
) -> LowRank:
    """A layer's new term: A, B, and what its start and DoRA need beside them."""
    device, key = linear.weight.device, _seed(f"{seed}:{linear.name}")
    if settings.start == "loftq":
        lost = _original(words, linear).to(device).float() - linear.dense().float()
        a, b = lora_start.principal(lost, shape.rank, shape.scale, key)
    elif settings.start in lora_start.TAKEN:
        weight = linear.dense().detach()
        a, b = lora_start.TAKEN[settings.start](weight, shape.rank, shape.scale, key)
    else:
        a, b = lora_start.uniform((linear.out_features, linear.in_features), shape.rank, key)
    term = LowRank(
        nn.Parameter(a.to(device), requires_grad=not settings.freeze_a),
        nn.Parameter(b.to(device)),
        shape.scale,
        settings.dropout,
    )
    if settings.start in lora_start.TAKEN:
        a0, b0 = (nn.Parameter(t.detach().clone(), requires_grad=False) for t in (term.a, term.b))
        term.offset = (a0, b0)
    if settings.dora:
        term.dense = linear.dense
        term.refresh()
        term.magnitude = nn.Parameter(term.row_norms().clone())
    return term


def _named(module: str, term: LowRank) -> list[tuple[str, nn.Parameter]]:
    """A term's tensors by the names that they are stored under."""
    named = [(key_a(module), term.a), (key_b(module), term.b)]
    if term.offset is not None:
        named += zip((key_a0(module), key_b0(module)), term.offset, strict=True)
    if term.magnitude is not None:
        named.append((key_m(module), term.magnitude))
    return named


def _original(words: Words, linear: SeamLinear) -> Tensor:
    if words.original is None or linear.four_bit is None:
        raise ConfigError(
            "method.start loftq needs the base as it was before it was quantised.",
            remedy="Give the 16-bit base as model, with method qlora; or leave method.start out.",
        )
    return words.original(f"{linear.name}.weight")


def _seed(key: str) -> int:
    """Of a generator for one layer, so that other layers do not change its start."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little")
