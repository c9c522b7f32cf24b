"""Low-rank terms of many adapters in two products: y += s (x A^T) B^T, A and B of all side by side.

In a step of a server a few rows belong to each adapter, and a product for each term costs more in
its call than in its arithmetic. Here every row meets the A of all, keeps what is its own adapter's
and meets the B of all. The reference is the loop over terms in `engine/linear.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.device import send
from tunesmith.engine.term import Term

# Multiplications in vain that take as long as the two calls of a term: 36 us at 80 G a second
# (bf16 on a Zen 5 core, docs/log.md).
MAX_WASTE = 3_000_000
Layout = tuple[tuple[str, int, float], ...]  # adapter, columns, scale of each term


@dataclass(frozen=True, slots=True, eq=False)
class _OwnColumns:
    """Which of the R columns belong to each row's adapter, and how they count."""

    rows: slice | None  # n of the T rows, the first to the last one of these adapters; None: all
    others: Tensor  # [n, R] bool
    scale: float
    scales: Tensor | None  # [n, 1], where they differ


class JoinedTerms:
    """Factors of terms of one layer, side by side; the terms' own copies are views of them.

    A term is known by its copy: one that was renewed or attached anew has another.
    """

    def __init__(self, terms: Mapping[str, Term], dtype: torch.dtype) -> None:
        casts = [term.cast(dtype) for term in terms.values()]
        self.a = torch.cat([a for a, _ in casts])  # [R, D_in]
        self.b = torch.cat([b.t() for _, b in casts])  # [R, D_out]
        sizes = [len(a) for a, _ in casts]
        self.layout: Layout = tuple(
            (name, size, term.scale)
            for (name, term), size in zip(terms.items(), sizes, strict=True)
        )
        views = zip(
            terms.items(), torch.split(self.a, sizes), torch.split(self.b, sizes), strict=True
        )
        self.copies = {
            name: (term.replace_cast(a, b.t()), term.scale) for (name, term), a, b in views
        }

    def has(self, name: str, term: Term) -> bool:
        """Whether a term is in it as it is now."""
        a, scale = self.copies.get(name, (None, None))
        return a is not None and term.cast(a.dtype)[0] is a and term.scale == scale

    def is_for(self, terms: Mapping[str, Term], stream: PackedBatch) -> bool:
        """Whether ``terms`` and no others of the stream's adapters are in it."""
        return all(self.has(name, term) for name, term in terms.items()) and not any(
            name in self.copies for name in stream.adapter_rows if name not in terms
        )

    def add_(self, y: Tensor, x: Tensor, stream: PackedBatch) -> None:
        """Add each row's own term: x [T, D_in], y [T, D_out]."""
        own = _own_columns(stream, self.layout, x)
        if own.rows is not None:
            x, y = x[own.rows], y[own.rows]
        xa = (x @ self.a.t()).masked_fill_(own.others, 0.0)  # also where it overflowed
        if own.scales is not None:
            xa.mul_(own.scales)
        y.addmm_(xa, self.b, alpha=own.scale)


def join(
    known: JoinedTerms | None, terms: Mapping[str, Term], stream: PackedBatch, x: Tensor
) -> JoinedTerms | None:
    """The terms of a layer that add to x [T, D_in] in one; None where each by itself is faster.

    ``known`` is what was found at the call before: it is used again while it holds them and is at
    most twice as wide. A term that is not finite stays by itself: it would reach the others' rows.
    On a processor alone: an accelerator would have to be waited for to know that.
    """
    if x.device.type != "cpu":
        return None
    present = {
        name: term
        for name in stream.adapter_rows
        if (term := terms.get(name)) is not None and term.a is not None and term.is_finite()
    }
    if len(present) < 2 or not _pays(present, stream, x):
        return None
    if known is not None and known.a.dtype == x.dtype:
        widest = 2 * sum(term.width for term in present.values())
        if len(known.a) <= widest and known.is_for(present, stream):
            return known
        older = {n: term for n, term in terms.items() if known.has(n, term)}
        both = {n: term for n, term in (older | present).items() if term.is_finite()}
        if sum(term.width for term in both.values()) <= widest:
            present = both
    return JoinedTerms(present, x.dtype)


def _pays(present: Mapping[str, Term], stream: PackedBatch, x: Tensor) -> bool:
    """Whether what is computed for rows of other adapters costs less than a call for each term."""
    rows = stream.adapter_rows
    widths = {name: term.width for name, term in present.items()}
    own = sum(rows[name] * width for name, width in widths.items())
    wasted = sum(rows[name] for name in present) * sum(widths.values()) - own
    term = next(iter(present.values()))
    assert term.a is not None
    assert term.b is not None
    return wasted * (x.shape[1] + len(term.b)) <= MAX_WASTE * (len(present) - 1)


def _own_columns(stream: PackedBatch, layout: Layout, like: Tensor) -> _OwnColumns:
    """Made once a stream for all layers with the same terms."""
    key = ("joined", layout, like.dtype)
    if key not in stream.plans:
        names, ends = [name for name, _, _ in layout], list(accumulate(n for _, n, _ in layout))
        at = {name: number for number, name in enumerate(names)}
        mine = [(start, stop, at[a]) for a, start, stop in stream.segments if a in at]
        low, high = mine[0][0], mine[-1][1]
        rows = None if high - low == len(stream.on_host.ids) else slice(low, high)
        others = torch.ones(high - low, ends[-1], dtype=torch.bool)
        scales = torch.ones(high - low, 1, dtype=like.dtype)
        common = max((scale for _, _, scale in layout), key=abs) or 1.0
        for first, stop, number in mine:
            _, size, scale = layout[number]
            others[first - low : stop - low, ends[number] - size : ends[number]] = False
            scales[first - low : stop - low] = scale / common
        others, scales = send([others, scales], like.device)
        differ = any(scale != common for _, _, scale in layout)
        stream.plans[key] = _OwnColumns(rows, others, common, scales if differ else None)
    own: _OwnColumns = stream.plans[key]
    return own
