"""What one adapter adds to one linear layer: y = o (W (i x) + s B A d(x)) + bias, d = dropout.

Each part may be absent: LoRA has A and B; DoRA o as well; IA3 has i or o alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

OVERSAMPLES, POWERS = 8, 4  # of the randomized decomposition
_last_change = 0
Masters = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def note_change() -> None:
    """A term was renewed, attached or detached: what was made of terms may be old."""
    global _last_change
    _last_change += 1


def changes() -> int:
    """How many there were so far."""
    return _last_change


def difference(term: tuple[Tensor, Tensor], start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A [2R, D_in] and B [D_out, 2R] with the product B A - B0 A0 of (A, B) and (A0, B0).

    They are [A; A - A0] and [B - B0, B0]. With [A; A0] and [B, -B0] large products would cancel,
    and in 16-bit formats rounding would erase much of what was learned.
    """
    (a, b), (a0, b0) = term, start
    return torch.cat([a, a - a0]), torch.cat([b - b0, b0], dim=1)


def principal(matrix: Tensor, rank: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """A and B with s B A the best approximation of rank R, by randomized subspace iteration."""
    width = min(rank + OVERSAMPLES, *matrix.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        u, s, v = torch.svd_lowrank(matrix, q=width, niter=POWERS)
    roots = (s[:rank] / scale).sqrt()
    return (v[:, :rank] * roots).t().contiguous(), (u[:, :rank] * roots).contiguous()


@dataclass(slots=True, eq=False)
class Term:
    """The fp32 masters of one layer, None where a part is absent, and how they count.

    ``offset``, A0 and B0 of a start that is taken from W, is subtracted: s (B A - B0 A0). Where
    ``norms`` gives the norms [D_out] of the rows of W + s B A, o = output / norms, and they are
    constants in backward (DoRA, arXiv 2402.09353, section 4.3). With ``whole`` o scales the bias
    too. With ``experts`` E it belongs to a stack: A [E R, D_in] and B [D_out, R E] hold E products,
    as PEFT has them, and ``cast`` gives [E, R, D_in] and [E, D_out, R].
    """

    a: nn.Parameter | None = None  # [R, D_in]
    b: nn.Parameter | None = None  # [D_out, R]
    scale: float = 1.0
    dropout: float = 0.0
    output: nn.Parameter | None = None  # [D_out]
    input: nn.Parameter | None = None  # i [D_in]
    whole: bool = False
    offset: tuple[nn.Parameter, nn.Parameter] | None = None
    norms: Callable[["Term"], Tensor] | None = None
    experts: int | None = None
    _norms: Tensor | None = None
    _cast: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _finite: bool | None = None

    @property
    def masters(self) -> Masters:
        """What autograd must see."""
        return self.a, self.b, self.output, self.input

    @property
    def rank(self) -> int:
        """R of what is trained; 0 without A and B."""
        return 0 if self.a is None else len(self.a) // (self.experts or 1)

    def product(self) -> tuple[Tensor, Tensor]:
        """A [R', D_in] and B [D_out, R'] with the whole product; R' is 2 R with an offset."""
        assert self.a is not None
        assert self.b is not None
        own = self.a.detach(), self.b.detach()
        if self.offset is None:
            return own
        a0, b0 = self.offset
        return difference(own, (a0.detach(), b0.detach()))

    @property
    def width(self) -> int:
        """R' of ``product``."""
        return self.rank if self.offset is None else 2 * self.rank

    def is_finite(self) -> bool:
        """Whether all numbers of B are; found once until the next ``refresh``."""
        if self._finite is None:
            self._finite = self.b is not None and bool(self.product()[1].isfinite().all())
        return self._finite

    def replace_cast(self, a: Tensor, b: Tensor) -> Tensor:
        """Keep a ``cast`` with the same numbers that lies elsewhere; gives its A."""
        self._cast[a.dtype] = a, b
        return a

    def cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """``product`` in ``dtype``, made once until the next ``refresh``."""
        if dtype not in self._cast:
            a, b = self.product() if self.experts is None else self.split()
            self._cast[dtype] = (a.to(dtype), b.to(dtype))
        return self._cast[dtype]

    def split(self) -> tuple[Tensor, Tensor]:
        """A [E, R, D_in] and B [E, D_out, R] of the experts."""
        (a, b), experts = self.product(), self.experts or 1
        split = b.view(len(b), -1, experts).permute(2, 0, 1).contiguous()
        return a.view(experts, -1, a.shape[1]), split

    def refresh(self) -> None:
        """Forget the copies and renew the norms, after the masters changed."""
        self._cast.clear()
        self._finite = None
        note_change()
        if self.norms is not None:
            self._norms = self.norms(self)

    def factors(self) -> Tensor | None:
        """o [D_out], as of the last ``refresh``; None where it is 1."""
        if self.output is None:
            return None
        return self.output.detach() if self._norms is None else self.output.detach() / self._norms

    def output_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient [D_out] of ``output`` from that of o."""
        return gradient if self._norms is None else gradient / self._norms

    def merged(self, weight: Tensor) -> Tensor:
        """W' = o (W i + s B A) of a W [D_out, D_in] in fp32.

        W need not be the one beside which the term was trained.
        """
        if self.input is not None:
            weight = weight * self.input.detach().to(weight)
        if self.a is not None:
            a, b = (tensor.to(weight) for tensor in self.product())
            weight = torch.addmm(weight, b, a, alpha=self.scale)
        if self.output is None:
            return weight
        output = self.output.detach().to(weight)
        if self.norms is not None:
            norms = torch.linalg.vector_norm(weight, dim=1)
            output = output / norms.clamp_min_(torch.finfo(norms.dtype).tiny)
        return weight * output[:, None]

    def merged_bias(self, bias: Tensor) -> Tensor:
        """The bias [D_out] of the merged layer."""
        if not self.whole or self.output is None:
            return bias
        return bias * self.output.detach().to(bias)
