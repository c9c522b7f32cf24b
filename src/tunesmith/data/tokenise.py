"""What records become: rows of tokens with their conversations, faults, and what was noticed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tunesmith.data.dataset import Block, block_of
from tunesmith.data.documents import Renderer
from tunesmith.data.faults import FaultBook, Faults, Note, NoteBook
from tunesmith.data.read import Layout, found_in
from tunesmith.data.records import Record
from tunesmith.data.rows import Conversation
from tunesmith.data.stored import stored
from tunesmith.data.template import ROWS, Rendering, TokenRow
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.data.word_ids import remembering


@dataclass(frozen=True, slots=True, eq=False)
class Tokenised:
    """What a chunk of records became: a block of rows, and the conversations they were made of.

    Owners in the block are numbers in ``conversations``; files those in ``files``. ``records``
    counts sound and faulty rows, ``last_line`` is where the chunk ends.
    """

    block: Block
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


class Tokeniser:
    """Renders and tokenises chunks; raises DataError where a chat finds no chat template."""

    def __init__(self, recipe: Recipe) -> None:
        self._renderer = Renderer(
            remembering(recipe.tokenizer),
            max_tokens=recipe.max_tokens,
            rendering=recipe.rendering,
        )

    def records(self, records: Sequence[Record], layout: Layout) -> Tokenised:
        """The rows of some records of a file."""
        faults, notes = FaultBook(), NoteBook()
        sound: list[Conversation] = []
        count = 0
        for record in records:
            found = found_in(record, layout)
            count += found.is_row
            faults.add(found.faults)
            notes.add(found.remarks, line=found.line)
            if found.conversation is not None:
                sound.append(found.conversation)
        made = self.conversations(sound)
        faults.merge(made.faults)
        notes.merge(made.notes)
        return replace(
            made,
            records=count,
            last_line=records[-1].line,
            faults=faults.faults(),
            notes=notes.notes(),
        )

    def conversations(self, conversations: Iterable[Conversation]) -> Tokenised:
        """The rows of conversations that were checked."""
        faults, notes = FaultBook(), NoteBook()
        rows: list[TokenRow] = []
        kept: list[Conversation] = []
        owners: list[int] = []
        for rendered in self._renderer.documents(conversations):
            conversation = rendered.conversation
            faults.add(rendered.faults)
            if rendered.row is None:
                continue
            notes.add(rendered.remarks, line=conversation.line)
            if not kept or kept[-1] is not conversation:
                kept.append(conversation)
            rows.append(rendered.row)
            owners.append(len(kept) - 1)
        files = list(dict.fromkeys(row.file for row in rows))
        return Tokenised(
            block=block_of(rows, owners, files),
            conversations=tuple(map(stored, kept)),
            files=tuple(files),
            records=len(kept),
            last_line=rows[-1].line if rows else 0,
            faults=faults.faults(),
            notes=notes.notes(),
        )
