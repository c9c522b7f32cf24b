"""What settings choose of LoRA: its layers and ranks, rsLoRA, DoRA, LoRA-FA, and other starts.

With rsLoRA the scale is alpha / sqrt(rank) (arXiv 2312.03732), with DoRA each row of W + s B A
gets a trained norm (2402.09353), with LoRA-FA A stays as it starts (2308.03303). QLoRA is the same
over a 4-bit base (2305.14314). PiSSA and OLoRA move a part of W into the adapter: W stays as it
is, and the start is subtracted beside it, s (B A - B0 A0).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import ConfigError
from tunesmith.engine.forward import Engine
from tunesmith.engine.linear import SeamLinear
from tunesmith.engine.term import Term, principal
from tunesmith.methods import lora
from tunesmith.methods.adapter import PREFIX, Adapter, Tensors, Words
from tunesmith.methods.lora import Shape
from tunesmith.methods.targets import matches, refuse_idle, targeted, targeted_parameters

Start = Callable[[Tensor, int, float, int], tuple[Tensor, Tensor]]


def key_m(module: str) -> str:
    """PEFT's name of DoRA's magnitude [D_out]."""
    return f"{PREFIX}{module}.lora_magnitude_vector"


def key_a0(module: str) -> str:
    """Our name of the A that a start took from W; PEFT's files have it within A."""
    return f"{PREFIX}{module}.start_A.weight"


def key_b0(module: str) -> str:
    """Our name of the B that a start took from W."""
    return f"{PREFIX}{module}.start_B.weight"


def choose(
    settings: LoraSettings, linears: Sequence[str], parameters: Sequence[str] = ()
) -> dict[str, Shape]:
    """The layers and parameters that get a term, with their ranks.

    Raises ConfigError for a pattern without effect, and where nothing is chosen.
    """
    chosen = targeted(settings.targets, linears, method="LoRA", parameters=parameters)
    chosen += targeted_parameters(settings.target_parameters, parameters, method="LoRA")
    if not chosen:
        raise ConfigError(
            "LoRA targets and target_parameters are both empty.",
            remedy="Set method.targets to all-linear.",
        )
    refuse_idle("LoRA", "rank_pattern", settings.rank_pattern, chosen)
    refuse_idle("LoRA", "alpha_pattern", settings.alpha_pattern, chosen)
    return {name: shape(settings, name) for name in chosen}


def chosen(engine: Engine, settings: LoraSettings) -> dict[str, Shape]:
    """``choose`` over a base."""
    return choose(settings, list(engine.linears), list(engine.parameters))


def shape(settings: LoraSettings, name: str) -> Shape:
    """Rank and scale beside a layer of this name."""

    def last(pattern: Mapping[str, float], default: float) -> float:
        hits = [value for p, value in pattern.items() if matches(name, p)]
        return hits[-1] if hits else default

    rank = int(last(settings.rank_pattern, settings.rank))
    alpha = last(settings.alpha_pattern, settings.alpha)
    return Shape(rank, alpha, alpha / (math.sqrt(rank) if settings.rslora else rank))


def attach(
    engine: Engine, settings: LoraSettings, *, name: str, seed: int, words: Words
) -> Adapter:
    """Put a new adapter beside the chosen layers of the base; equals the base at first.

    With the start `loftq` it is nearer to the base before quantization. Raises ConfigError for a
    start that the base does not allow.
    """

    def extend(module: str, term: Term, own: int) -> dict[str, nn.Parameter]:
        assert term.a is not None
        term.a.requires_grad_(not settings.freeze_a)
        if (linear := engine.linears.get(module)) is None:  # a parameter
            return {}
        kept = _start_elsewhere_(term, settings, linear, seed=own, words=words)
        if settings.dora:
            term.norms = RowNorms(linear.dense)
            kept[key_m(module)] = term.output = nn.Parameter(term.norms(term))
        return kept

    shapes = chosen(engine, settings)
    return lora.attach(engine, settings, shapes, name=name, seed=seed, extend=extend)


def check(engine: Engine, settings: LoraSettings) -> None:
    """Raise ConfigError for a rank above a layer's smaller side: it can hold nothing more."""
    shapes, seams = chosen(engine, settings), engine.seams
    sides = {n: min(seams[n].in_features, seams[n].out_features) for n in shapes}
    high = [n for n, shape in shapes.items() if shape.rank > sides[n]]
    if high:
        raise ConfigError(
            f"Rank {shapes[high[0]].rank} is larger than {len(high)} of the layers, such as "
            f"{high[0]} with a smaller side of {sides[high[0]]}.",
            remedy=f"Set method.rank to {min(sides[n] for n in high)} or less, or another rank "
            "for these layers with method.rank_pattern.",
        )


def scale_down_(adapter: Adapter, share: float, _: Tensors) -> None:
    """Multiply s B A of every layer by ``share``, and a start that is taken from W too."""
    ends = tuple(key("").removeprefix(PREFIX) for key in (lora.key_b, key_b0))
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            if name.endswith(ends):
                parameter.mul_(share)
    adapter.refresh()


class RowNorms:
    """||W + s B A|| by row without that matrix: ||W||^2 + 2 s W A^T . B + s^2 B A A^T . B."""

    def __init__(self, dense: Callable[[], Tensor] | None = None) -> None:
        self.dense = dense  # W [D_out, D_in]; None beside no base, where a merge measures
        self._squares: Tensor | None = None  # [D_out], of the rows of W

    def __call__(self, term: Term) -> Tensor:
        """[D_out]."""
        assert self.dense is not None
        weight, (a, b) = self.dense(), term.product()
        wide = torch.promote_types(weight.dtype, b.dtype)
        if self._squares is None:
            self._squares = torch.linalg.vector_norm(weight, dim=1, dtype=wide).square()
        mixed = ((weight @ a.to(weight.dtype).t()).to(wide) * b).sum(1)
        own = ((b @ (a @ a.t())) * b).sum(1)
        squares = self._squares + 2 * term.scale * mixed + term.scale**2 * own
        return squares.clamp_min(torch.finfo(b.dtype).tiny).sqrt().to(b.dtype)


def pissa(weight: Tensor, rank: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """PiSSA: the R largest singular values of W, s B A = U S V^T (arXiv 2404.02948, equation 2)."""
    return principal(weight.float(), rank, scale, seed)


def olora(weight: Tensor, rank: int, *_: float) -> tuple[Tensor, Tensor]:
    """OLoRA: orthonormal B, from W = Q R: B = Q[:, :R], A = R[:R] (arXiv 2406.01775, section 3)."""
    q, r = torch.linalg.qr(weight.float())
    return r[:rank].contiguous(), q[:, :rank].contiguous()


# Starts that take a part of W into the adapter, by the name that method.init has.
TAKEN: dict[str, Start] = {"pissa": pissa, "olora": olora}


def _start_elsewhere_(
    term: Term, settings: LoraSettings, linear: SeamLinear, *, seed: int, words: Words
) -> dict[str, nn.Parameter]:
    """Another start than the usual where settings name one; what is subtracted, by its names.

    LoftQ with one step starts from what 4-bit quantization lost of W (arXiv 2310.08659, eq. 8).
    """
    assert term.a is not None
    assert term.b is not None
    if settings.init == "loftq":
        lost = _original(words, linear).to(term.a.device).float() - linear.dense().float()
        term.a.data, term.b.data = principal(lost, term.rank, term.scale, seed)
    if settings.init not in TAKEN:
        return {}
    taken = TAKEN[settings.init](linear.dense().detach(), term.rank, term.scale, seed)
    term.a.data, term.b.data = taken
    a0, b0 = (nn.Parameter(each.clone(), requires_grad=False) for each in taken)
    term.offset = (a0, b0)
    return {key_a0(linear.name): a0, key_b0(linear.name): b0}


def _original(words: Words, linear: SeamLinear) -> Tensor:
    if words.original is not None and linear.is_four_bit:
        found = words.original(f"{linear.name}.weight")
        if found.is_floating_point():  # and no codes of a base that is stored in 4-bit precision
            return found
    raise ConfigError(
        "method.init loftq needs the base as it was before it was quantized.",
        remedy="Give the 16-bit base as model, with method qlora; or omit method.init.",
    )
