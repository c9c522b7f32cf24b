"""From conversations to arrays: every row rendered, measured against the limit, stored flat."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.counts import many
from tunesmith.data.chat_format import study
from tunesmith.data.faults import Fault, Note, NoteBook, Problem, Remark, refuse
from tunesmith.data.rows import Conversation
from tunesmith.data.template import ROWS, Rendering, TokenRow, render_each
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import DataError

TooLong = Literal["refuse", "cut", "drop"]
SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """N rows of T tokens in all, one after the other.

    ``ids`` int32 [T], ``weights`` float32 [T], ``offsets`` int64 [N + 1] (row i is
    ids[offsets[i]:offsets[i + 1]]), ``lines`` int64 [N], ``files`` the names that ``file_of`` int32
    [N] points into. ``notes`` tells what was cut, dropped or inserted, with counts.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]
    lines: NDArray[np.int64]
    files: tuple[str, ...]
    file_of: NDArray[np.int32]
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, i: int) -> TokenRow:
        """Row ``i`` as views into the arrays."""
        i = range(len(self))[i]
        start, stop = self.offsets[i], self.offsets[i + 1]
        file = self.files[self.file_of[i]]
        return TokenRow(self.ids[start:stop], self.weights[start:stop], file, int(self.lines[i]))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return len(self.ids)

    @property
    def supervised_tokens(self) -> int:
        """Tokens whose prediction counts in the loss."""
        return int(np.count_nonzero(self.weights))

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.lengths.max(initial=0))


def prepare(
    tokenizer: Tokenizer,
    conversations: Iterable[Conversation],
    *,
    max_tokens: int,
    too_long: TooLong = "refuse",
    rendering: Rendering = ROWS,
) -> Dataset:
    """Every conversation as ids and loss weights; raises FaultyData with all of their faults.

    Rows of more than ``max_tokens`` are refused, cut behind that many tokens, or dropped.
    """
    chat_format = study(tokenizer)
    book = NoteBook()
    faults: list[Fault] = []
    rows: list[TokenRow] = []
    long: list[TokenRow] = []
    for rendered in render_each(tokenizer, conversations, chat_format, rendering):
        faults += rendered.faults
        row = rendered.row
        if row is None:
            continue
        book.add(rendered.remarks, line=row.line)
        if len(row.ids) <= max_tokens:
            rows.append(row)
            continue
        long.append(row)
        if too_long == "drop":
            book.add([_dropped(max_tokens)], line=row.line)
        elif too_long == "cut":
            rows.append(_cut(row, max_tokens))
            book.add([_cut_off(max_tokens)], line=row.line)
            faults += _cut_away(rows[-1], max_tokens)
    if long and too_long == "refuse":
        faults.append(_too_long(long, max_tokens))
    refuse(faults)
    if not rows:
        raise _nothing_left(len(long), max_tokens)
    return _stored(rows, book.notes())


def _nothing_left(dropped: int, max_tokens: int) -> DataError:
    long = f"all are longer than {many(max_tokens, 'token')} ({many(dropped, 'row')})"
    why = long if dropped else "there are none"
    remedy = "Give more rows, or a larger --data.max_tokens."
    return DataError(f"No row is left to train on: {why}.", remedy=remedy, code="no_rows")


def _stored(rows: Sequence[TokenRow], notes: tuple[Note, ...]) -> Dataset:
    files = {file: i for i, file in enumerate(dict.fromkeys(row.file for row in rows))}
    return Dataset(
        ids=np.concatenate([row.ids for row in rows]),
        weights=np.concatenate([row.weights for row in rows]),
        offsets=np.cumsum([0, *(len(row.ids) for row in rows)], dtype=np.int64),
        lines=np.array([row.line for row in rows], dtype=np.int64),
        files=tuple(files),
        file_of=np.array([files[row.file] for row in rows], dtype=np.int32),
        notes=notes,
    )


def _cut(row: TokenRow, max_tokens: int) -> TokenRow:
    """The row's first tokens, as copies that do not keep the whole row alive."""
    ids, weights = row.ids[:max_tokens].copy(), row.weights[:max_tokens].copy()
    return TokenRow(ids, weights, row.file, row.line)


def _cut_off(max_tokens: int) -> Remark:
    return Remark("cut", f"rows were cut behind {many(max_tokens, 'token')} (--data.too_long cut)")


def _dropped(max_tokens: int) -> Remark:
    what = f"rows of more than {many(max_tokens, 'token')} were left out (--data.too_long drop)"
    return Remark("dropped", what)


def _cut_away(row: TokenRow, max_tokens: int) -> list[Fault]:
    if row.weights.any():
        return []
    problem = Problem(
        "cut_away",
        f"no part of an answer is in its first {many(max_tokens, 'token')}, so nothing to learn.",
        "Give a larger --data.max_tokens, shorten its prompt, or use --data.too_long drop.",
    )
    return [problem.at(row.file, row.line)]


def _too_long(rows: Sequence[TokenRow], max_tokens: int) -> Fault:
    longest = max(rows, key=lambda row: len(row.ids))
    first = ", ".join(f"{row.file}:{row.line}" for row in rows[1:SHOWN_ROWS])
    others = f"; others: {first}{', ...' if len(rows) > SHOWN_ROWS else ''}" if first else ""
    count = f"{many(len(rows), 'row')} {'is' if len(rows) == 1 else 'are'}"
    problem = Problem(
        "too_long",
        f"{count} longer than {many(max_tokens, 'token')} (the longest: {len(longest.ids)}, line "
        f"{longest.line}{others}).",
        "Use --data.too_long cut or drop. A larger --data.max_tokens helps up to the model's "
        "context.",
    )
    return problem.at(rows[0].file, rows[0].line)
