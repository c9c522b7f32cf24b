"""What happens to rows that are longer than a document may be: refused, cut or dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tunesmith.counts import many
from tunesmith.data.dataset import Dataset, Numbers
from tunesmith.data.faults import LISTED, Fault, FaultBook, Faults, Note, Problem

TooLong = Literal["refuse", "cut", "drop"]
SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True)
class Limit:
    """The longest document in tokens, and what happens to a longer row."""

    max_tokens: int
    too_long: TooLong = "refuse"

    @property
    def tokens(self) -> str:
        """The longest document, for people."""
        return many(self.max_tokens, "token")


@dataclass(frozen=True, slots=True)
class Limited:
    """The rows that are left, why a run would refuse them, and what was done to others.

    Where long rows are refused, all are there.
    """

    rows: Dataset
    faults: Faults
    notes: tuple[Note, ...]
    long: int


def limited(rows: Dataset, limit: Limit) -> Limited:
    """The rows within the limit, none of their tokens copied."""
    is_long = rows.lengths > limit.max_tokens
    long = np.flatnonzero(is_long)
    if not len(long):
        return Limited(rows, Faults(), (), 0)
    if limit.too_long == "refuse":
        return Limited(rows, Faults((_too_long(rows, long, limit),)), (), len(long))
    lines = tuple(rows.lines[long[:LISTED]].tolist())
    if limit.too_long == "drop":
        what = f"rows of more than {limit.tokens} were left out (--data.too_long drop)"
        note = Note("dropped", what, len(long), lines)
        return Limited(rows.take(~is_long), Faults(), (note,), len(long))
    what = f"rows were cut behind {limit.tokens} (--data.too_long cut)"
    cut = _cut(rows, long, limit.max_tokens)
    note = Note("cut", what, len(long), lines)
    return Limited(cut, _cut_away(cut, long, limit), (note,), len(long))


def nothing_left(dropped: int, limit: Limit) -> Problem:
    """There is no row to train on, of which ``dropped`` were too long."""
    long = f"all are longer than {limit.tokens} ({many(dropped, 'row')})"
    why = long if dropped else "there are none"
    what = f"no row is left to train on: {why}."
    return Problem("no_rows", what, "Give more rows, or a larger --data.max_tokens.")


def _cut(rows: Dataset, long: Numbers, max_tokens: int) -> Dataset:
    supervised = rows.supervised.copy()
    for i in long.tolist():
        supervised[i] = np.count_nonzero(rows[i].weights[:max_tokens])
    lengths = np.minimum(rows.lengths, max_tokens)
    return replace(rows, lengths=lengths, supervised=supervised)


def _cut_away(rows: Dataset, cut: Numbers, limit: Limit) -> Faults:
    """Of the rows that were cut, those of whose answers nothing is left."""
    problem = Problem(
        "cut_away",
        f"no part of an answer is in its first {limit.tokens}, so nothing to learn.",
        "Give a larger --data.max_tokens, shorten its prompt, or use --data.too_long drop.",
    )
    book = FaultBook()
    for i in cut[rows.supervised[cut] == 0].tolist():
        book.add([problem.at(*_place(rows, i))])
    return book.faults()


def _too_long(rows: Dataset, long: Sequence[int] | Numbers, limit: Limit) -> Fault:
    longest = max(long, key=lambda i: rows.lengths[i])
    shown = [i for i in long[1:SHOWN_ROWS] if i != longest]
    first = ", ".join("{}:{}".format(*_place(rows, i)) for i in shown)
    others = f"; others: {first}{', ...' if len(long) > SHOWN_ROWS else ''}" if first else ""
    count = f"{many(len(long), 'row')} {'is' if len(long) == 1 else 'are'}"
    problem = Problem(
        "too_long",
        f"{count} longer than {limit.tokens} (the longest: {rows.lengths[longest]:,}, line "
        f"{rows.lines[longest]}{others}).",
        "Use --data.too_long cut or drop (or --data.drop too_long). A larger --data.max_tokens "
        "helps up to the model's context, of which virtual tokens (method.tokens) take their part.",
    )
    return problem.at(*_place(rows, long[0]))


def _place(rows: Dataset, i: int) -> tuple[str, int]:
    return rows.files[rows.file_of[i]], int(rows.lines[i])
