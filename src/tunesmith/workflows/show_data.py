"""Rows of a file as a run would train on them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from tunesmith.config import RunConfig
from tunesmith.data.documents import Renderer
from tunesmith.data.faults import Fault, FaultBook
from tunesmith.data.read import Found, read_rows
from tunesmith.data.rows import Conversation
from tunesmith.data.show import ShownRow, shown
from tunesmith.data.template import Rendered
from tunesmith.models.cache import Emit, ignore
from tunesmith.workflows.rows import asked_of, rendering_of
from tunesmith.workflows.tokenizing import open_tokenizer


@dataclass(frozen=True, slots=True)
class ShownData:
    """The first documents of a file, the faults of rows up to there, and what was noticed."""

    rows: tuple[ShownRow, ...]
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...]


def show_data(config: RunConfig, *, most: int, emit: Emit = ignore) -> ShownData:
    """The first ``most`` documents that can be rendered; nothing is cut or left out."""
    settings, book = config.data, FaultBook()
    (source,) = settings.sources
    _, of_file, records = read_rows(asked_of(settings, source))
    book.add(of_file)
    sound = _sound(records, book)
    first = next(sound, None)
    if first is None:
        return ShownData((), book.faults().listed, ())
    opened = open_tokenizer(config.model, trust_remote_code=config.trust_remote_code, emit=emit)
    limit = min(opened.context, settings.max_tokens or opened.context)
    rendering = rendering_of(settings)
    renderer = Renderer(opened.tokenizer, max_tokens=limit, rendering=rendering)
    found: list[Rendered] = []
    rows: list[ShownRow] = []
    for each in _one_by_one(renderer, chain([first], sound)):
        found.append(each)
        book.add(each.faults)
        if each.row is not None:
            rows.append(shown(opened.tokenizer, each.row, limit=limit))
        if len(rows) == most:
            break
    return ShownData(tuple(rows), book.faults().listed, _told(found))


def _sound(records: Iterable[Found], book: FaultBook) -> Iterator[Conversation]:
    """The sound rows; the faults of others go into ``book``."""
    for each in records:
        book.add(each.faults)
        if each.conversation is not None:
            yield each.conversation


def _one_by_one(renderer: Renderer, rows: Iterable[Conversation]) -> Iterator[Rendered]:
    """The documents of each row, before the next one is read."""
    for row in rows:
        yield from renderer.documents([row])


def _told(found: Sequence[Rendered]) -> tuple[str, ...]:
    remarks = (remark.message for each in found for remark in each.remarks)
    return tuple(dict.fromkeys(remarks))
