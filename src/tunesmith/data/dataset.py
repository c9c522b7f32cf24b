"""Rows of tokens to train on, wherever their bytes are, and what happens to rows too long."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.run import Overflow
from tunesmith.core.numbers import pluralize
from tunesmith.data.faults import LISTED, Fault, Faults, Note, RowReport
from tunesmith.data.rows import Conversation, TokenRow

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TokenBlock:
    """N rows whose T tokens lie one after the other, with S spans of them that are supervised.

    ``ids`` int32 [T]. ``starts`` and ``stops`` int64 [S] are the spans, in order and none across
    rows, and ``span_weights`` float32 [S] the loss weight of predicting each of their tokens. For
    each row, int64 [N]: its ``lengths`` in tokens, its ``lines``, how many of its tokens are
    ``supervised``, the number of the conversation it was made of (``owners``), and that of its file
    (``file_of``).
    """

    ids: NDArray[np.int32]
    starts: Numbers
    stops: Numbers
    span_weights: NDArray[np.float32]
    lengths: Numbers
    lines: Numbers
    supervised: Numbers
    owners: Numbers
    file_of: Numbers

    def weights(self, start: int, length: int) -> NDArray[np.float32]:
        """The loss weights of a row, or of its first tokens: float32 [length]."""
        weights = np.zeros(length, dtype=np.float32)
        first, last = np.searchsorted(self.starts, (start, start + length))
        for i in range(first, last):
            weights[self.starts[i] - start : self.stops[i] - start] = self.span_weights[i]
        return weights


PER_ROW = ("lengths", "lines", "supervised", "owners", "file_of")
ARRAYS = ("block_of", "starts", *PER_ROW)


def block_of(rows: Sequence[TokenRow], owners: Sequence[int], files: Sequence[str]) -> TokenBlock:
    """Rows as a block, made of the conversations ``owners``, whose files are among ``files``."""
    numbers = {file: number for number, file in enumerate(files)}
    ids = np.concatenate([np.zeros(0, np.int32), *(row.ids for row in rows)])
    weights = np.concatenate([np.zeros(0, np.float32), *(row.weights for row in rows)])
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
    begins = np.ones(len(weights), dtype=np.bool_)
    begins[1:] = weights[1:] != weights[:-1]
    begins[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(weights))
    is_span = weights[starts] > 0
    supervised = [np.count_nonzero(row.weights) for row in rows]
    return TokenBlock(
        ids=ids,
        starts=starts[is_span],
        stops=stops[is_span],
        span_weights=weights[starts[is_span]],
        lengths=lengths,
        lines=np.array([row.line for row in rows], dtype=np.int64),
        supervised=np.array(supervised, dtype=np.int64),
        owners=np.array(owners, dtype=np.int64),
        file_of=np.array([numbers[row.file] for row in rows], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """N rows, each a piece of one of the ``blocks``; to choose rows or to cut them copies no token.

    Row i is the tokens from ``starts[i]`` of block ``block_of[i]``, ``lengths[i]`` of them; the
    other arrays, int64 [N] all, are those of blocks. ``files`` are what ``file_of`` points into.
    ``notes`` tells what was cut, dropped or inserted, with counts.
    """

    blocks: Sequence[TokenBlock]
    block_of: Numbers
    starts: Numbers
    lengths: Numbers
    lines: Numbers
    supervised: Numbers
    owners: Numbers
    file_of: Numbers
    files: tuple[str, ...]
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, i: int) -> TokenRow:
        """Row ``i``, its ids where they lie."""
        i = range(len(self))[i]
        block, start, length = self.blocks[self.block_of[i]], self.starts[i], self.lengths[i]
        ids, weights = block.ids[start : start + length], block.weights(start, length)
        return TokenRow(ids, weights, self.files[self.file_of[i]], int(self.lines[i]))

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return int(self.lengths.sum())

    @property
    def supervised_tokens(self) -> int:
        """Tokens whose prediction counts in the loss."""
        return int(self.supervised.sum())

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.lengths.max(initial=0))

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Dataset":
        """These rows, by number or by whether, in their order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ARRAYS})


def dataset_of(
    blocks: Sequence[TokenBlock], files: Sequence[str], notes: Sequence[Note] = ()
) -> Dataset:
    """All rows of these blocks."""
    counts = [len(block.lengths) for block in blocks]
    starts = [np.cumsum(block.lengths) - block.lengths for block in blocks]
    rows = {name: _joined(getattr(block, name) for block in blocks) for name in PER_ROW}
    return Dataset(
        blocks=tuple(blocks),
        block_of=np.repeat(np.arange(len(blocks)), counts),
        starts=_joined(starts),
        files=tuple(files),
        notes=tuple(notes),
        **rows,
    )


def joined(datasets: Sequence[Dataset], conversations: Sequence[int]) -> Dataset:
    """The rows of several, one after the other; the conversations are numbered through all.

    ``conversations`` is how many each of them has.
    """
    files = list(dict.fromkeys(file for each in datasets for file in each.files))
    numbers = {file: number for number, file in enumerate(files)}
    moved: list[Dataset] = []
    blocks = owners = 0
    for each, count in zip(datasets, conversations, strict=True):
        places = np.array([numbers[file] for file in each.files], dtype=np.int64)
        files_there = places[each.file_of]
        there, whose = each.block_of + blocks, each.owners + owners
        moved.append(replace(each, block_of=there, owners=whose, file_of=files_there))
        blocks += len(each.blocks)
        owners += count
    return Dataset(
        blocks=tuple(block for each in datasets for block in each.blocks),
        files=tuple(files),
        notes=tuple(note for each in datasets for note in each.notes),
        **{name: _joined(getattr(each, name) for each in moved) for name in ARRAYS},
    )


def _joined(arrays: Iterable[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])


@dataclass(frozen=True, slots=True, eq=False)
class RunRows:
    """What a run reads: rows, the held-out ones, and the conversations that those were made of.

    ``copies`` float64 [N] is how often each training row counts in an epoch; empty: once.
    ``validation`` are the held-out rows that choose the checkpoint, where others are scored.
    ``caveats`` say why scores of the held-out rows show less than they seem to.
    """

    train: Dataset
    held: Dataset | None
    held_conversations: Sequence[Conversation]
    copies: NDArray[np.float64]
    sample: tuple[Conversation, ...] = ()  # of the training rows, evenly spread
    validation: Dataset | None = None
    validation_conversations: Sequence[Conversation] = ()
    caveats: tuple[Note, ...] = ()

    @property
    def choosing(self) -> Dataset | None:
        """The held-out rows whose loss chooses the checkpoint."""
        return self.held if self.validation is None else self.validation

    @property
    def own_answers(self) -> tuple[str, ...]:
        """The last answers of ``sample``: what checks learn from."""
        return tuple(r.messages[r.supervised[-1]].content for r in self.sample if r.supervised)


SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True)
class Limit:
    """The longest document in tokens, and what happens to a longer row."""

    max_tokens: int
    overflow: Overflow = "error"

    @property
    def tokens(self) -> str:
        """The longest document, for people."""
        return pluralize(self.max_tokens, "token")


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
    if limit.overflow == "error":
        return Limited(rows, Faults((_too_long(rows, long, limit),)), (), len(long))
    lines = tuple(rows.lines[long[:LISTED]].tolist())
    if limit.overflow == "drop":
        what = f"rows of more than {limit.tokens} were left out (--data.overflow drop)"
        note = Note("dropped", what, len(long), lines)
        return Limited(rows.take(~is_long), Faults(), (note,), len(long))
    what = f"rows were cut after {limit.tokens} (--data.overflow truncate)"
    supervised = rows.supervised.copy()
    for i in long.tolist():
        supervised[i] = np.count_nonzero(rows[i].weights[: limit.max_tokens])
    lengths = np.minimum(rows.lengths, limit.max_tokens)
    cut = replace(rows, lengths=lengths, supervised=supervised)
    note = Note("cut", what, len(long), lines)
    return Limited(cut, _cut_away(cut, long, limit), (note,), len(long))


def nothing_left(dropped: int, limit: Limit, *, empty: int = 0) -> Fault:
    """There is no row to train on, of which ``dropped`` were too long, and others ``empty``."""
    if empty and not dropped:
        what = f"no row is left to train on: {pluralize(empty, 'row')} without text, and no others."
        return Fault("no_rows", what, "Write questions and answers, or map other columns.")
    long = f"all are longer than {limit.tokens} ({pluralize(dropped, 'row')})"
    why = long if dropped else "there are none"
    what = f"no row is left to train on: {why}."
    return Fault("no_rows", what, "Give more rows, or a larger --data.max_tokens.")


def _cut_away(rows: Dataset, cut: Numbers, limit: Limit) -> Faults:
    """Of the rows that were cut, those of whose answers nothing is left."""
    problem = Fault(
        "cut_away",
        f"no part of an answer is in its first {limit.tokens}, so nothing to learn.",
        "Give a larger --data.max_tokens, shorten its prompt, or use --data.overflow drop.",
    )
    report = RowReport()
    lost = cut[rows.supervised[cut] == 0].tolist()
    report.add_faults(problem.at(*_place(rows, i)) for i in lost)
    return report.faults


def _too_long(rows: Dataset, long: Sequence[int] | Numbers, limit: Limit) -> Fault:
    longest = max(long, key=lambda i: rows.lengths[i])
    shown = [i for i in long[1:SHOWN_ROWS] if i != longest]
    first = ", ".join("{}:{}".format(*_place(rows, i)) for i in shown)
    others = f"; others: {first}{', ...' if len(long) > SHOWN_ROWS else ''}" if first else ""
    count = f"{pluralize(len(long), 'row')} {'is' if len(long) == 1 else 'are'}"
    problem = Fault(
        "too_long",
        f"{count} longer than {limit.tokens} (the longest: {rows.lengths[longest]:,}, line "
        f"{rows.lines[longest]}{others}).",
        "Use --data.overflow truncate or drop (or --data.drop too_long). A larger "
        "--data.max_tokens helps up to the model's context, of which virtual tokens "
        "(method.tokens) take their part.",
    )
    return problem.at(*_place(rows, long[0]))


def _place(rows: Dataset, i: int) -> tuple[str, int]:
    return rows.files[rows.file_of[i]], int(rows.lines[i])
