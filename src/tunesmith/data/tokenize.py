"""What records and conversations become: rows of tokens, with faults and what was noticed.

A text is trained wholly, between the tokens that the tokenizer opens and ends a text with. One of
more tokens than a document may have becomes several, each of which begins with the last token of
the one before: so every token but the first is predicted once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np

from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_format import ChatFormat, pattern, special_tokens, study
from tunesmith.data.dataset import TokenBlock, block_of
from tunesmith.data.faults import Fault, Faults, Note, Parsed, RowReport
from tunesmith.data.read import Layout, parse_record
from tunesmith.data.rows import Conversation, Record, TokenRow, stored
from tunesmith.data.template import ROWS, Documents, Rendering, render_each
from tunesmith.data.tokenizer import Tokenizer, encode, remembering, with_special_tokens

CHARACTERS_AT_ONCE = 1 << 20
NO_END = Note(
    "no_end_token",
    "the tokenizer names no end token: texts end without one, and the model will not learn to stop",
)


class Renderer:
    """Makes documents of rows; what the chat template does is learned at the first conversation."""

    def __init__(
        self, tokenizer: Tokenizer, *, max_tokens: int, rendering: Rendering = ROWS
    ) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._rendering = rendering
        self._chat_format: ChatFormat | None = None

    def documents(self, conversations: Iterable[Conversation]) -> Iterator[Documents]:
        """The documents of every row in order; a faulty row does not raise.

        Only conversations need a chat template; raises DataError where there is none.
        """
        for is_text, group in groupby(conversations, key=lambda each: each.is_text):
            if is_text:
                yield from _texts(self._tokenizer, group, self._max_tokens)
            else:
                yield from self._chats(group)

    def _chats(self, rows: Iterable[Conversation]) -> Iterator[Documents]:
        if self._chat_format is None:
            self._chat_format = study(self._tokenizer)
        yield from render_each(self._tokenizer, rows, self._chat_format, self._rendering)


def _texts(
    tokenizer: Tokenizer, rows: Iterable[Conversation], max_tokens: int
) -> Iterator[Documents]:
    special = pattern(special_tokens(tokenizer).values())
    end = tokenizer.eos_token_id
    opening = [token for token in with_special_tokens(tokenizer, "") if token != end]
    ending = [] if end is None else [end]
    notes = () if ending else (NO_END,)
    for some in _batches(rows):
        encoded = encode(tokenizer, [row.messages[0].content for row in some])
        for row, inner in zip(some, encoded, strict=True):
            ids = [*opening, *inner, *ending]
            problem = None
            if found := special.search(row.messages[0].content):
                what = f"the text contains the special token `{found[0]}`."
                remedy = "Remove it, or rewrite it; each text gets its end token automatically."
                problem = Fault("control_tokens", what, remedy)
            elif len(ids) < 2:
                what = "the text is a single token, so nothing of it can be learned."
                problem = Fault("nothing_supervised", what, "Remove the row.")
            if problem:
                yield Parsed((), row.line, (problem.at(row.file, row.line),))
            else:
                yield _pieces(row, ids, max_tokens, notes)


def _batches(rows: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """As many rows at once as keep memory small."""
    some: list[Conversation] = []
    size = 0
    for row in rows:
        some.append(row)
        size += len(row.messages[0].content)
        if size >= CHARACTERS_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _pieces(
    row: Conversation, ids: Sequence[int], max_tokens: int, notes: tuple[Note, ...]
) -> Documents:
    if len(ids) > max_tokens:
        many = pluralize(max_tokens, "token")
        what = f"texts of more than {many} were split into documents that fit"
        notes = (*notes, Note("split_text", what))
    whole, rows = np.array(ids, dtype=np.int32), []
    for start in range(0, len(ids) - 1, max_tokens - 1):
        piece = whole[start : start + max_tokens]
        weights = np.ones(len(piece), dtype=np.float32)
        weights[:1] = 0
        rows.append(TokenRow(piece, weights, row.file, row.line))
    return Parsed(tuple(rows), row.line, notes=notes)


@dataclass(frozen=True, slots=True, eq=False)
class TokenChunk:
    """What a chunk of records became: a block of rows, and the conversations they were made of.

    Owners in the block are numbers in ``conversations``; files those in ``files``. ``records``
    counts sound and faulty rows, ``last_line`` is where the chunk ends.
    """

    block: TokenBlock
    conversations: tuple[bytes, ...]
    files: tuple[str, ...]
    records: int
    last_line: int
    faults: Faults
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes documents of rows; texts are cut into documents of ``max_tokens``."""

    tokenizer: Tokenizer
    max_tokens: int
    rendering: Rendering = ROWS


class ChunkTokenizer:
    """Renders and tokenizes chunks; raises DataError where a chat finds no chat template."""

    def __init__(self, recipe: Recipe) -> None:
        self._renderer = Renderer(
            remembering(recipe.tokenizer),
            max_tokens=recipe.max_tokens,
            rendering=recipe.rendering,
        )

    def records(self, records: Sequence[Record], layout: Layout) -> TokenChunk:
        """The rows of some records of a file."""
        report = RowReport()
        outcomes = (parse_record(record, layout) for record in records)
        made = self._rendered(filter(None, map(report.add, outcomes)), report)
        return replace(
            made,
            records=sum(record.is_row for record in records),
            last_line=records[-1].line,
        )

    def conversations(self, conversations: Iterable[Conversation]) -> TokenChunk:
        """The rows of conversations that were checked."""
        return self._rendered(conversations, RowReport())

    def _rendered(self, conversations: Iterable[Conversation], report: RowReport) -> TokenChunk:
        rows: list[TokenRow] = []
        kept: list[Conversation] = []
        owners: list[int] = []
        sound = list(conversations)
        for conversation, outcome in zip(sound, self._renderer.documents(sound), strict=True):
            if not outcome.value:
                report.add_faults(outcome.faults)
            elif documents := report.add(outcome):
                owners += [len(kept)] * len(documents)
                kept.append(conversation)
                rows += documents
        files = list(dict.fromkeys(row.file for row in rows))
        return TokenChunk(
            block=block_of(rows, owners, files),
            conversations=tuple(map(stored, kept)),
            files=tuple(files),
            records=len(kept),
            last_line=rows[-1].line if rows else 0,
            faults=report.faults,
            notes=report.notes,
        )


def worker_of(recipe: Recipe, layout: Layout) -> Callable[[Sequence[Record]], TokenChunk]:
    """What is done with each chunk of a file's records, in whichever process."""
    return partial(ChunkTokenizer(recipe).records, layout=layout)
