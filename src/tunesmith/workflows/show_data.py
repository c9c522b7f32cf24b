"""Rows of a file as a run would train on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.config import RunConfig
from tunesmith.data.chat_format import study
from tunesmith.data.faults import Fault
from tunesmith.data.read import scan
from tunesmith.data.show import ShownRow, shown
from tunesmith.data.template import Rendered, render_each
from tunesmith.models.cache import Emit, ignore
from tunesmith.workflows.rows import rendering_of
from tunesmith.workflows.tokenizing import open_tokenizer


@dataclass(frozen=True, slots=True)
class ShownData:
    """The first documents of a file, the faults of rows up to there, and what was noticed."""

    rows: tuple[ShownRow, ...]
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...]


def show_data(config: RunConfig, *, most: int, emit: Emit = ignore) -> ShownData:
    """The first ``most`` documents that can be rendered; nothing is cut or left out."""
    (source,) = config.data.sources
    reading = scan(source.path, format=config.data.format, columns=config.data.map)
    if not reading.conversations:
        return ShownData((), reading.faults, ())
    opened = open_tokenizer(config.model, trust_remote_code=config.trust_remote_code, emit=emit)
    limit = min(opened.context, config.data.max_tokens or opened.context)
    found: list[Rendered] = []
    rows: list[ShownRow] = []
    for each in render_each(
        opened.tokenizer, reading.conversations, study(opened.tokenizer), rendering_of(config.data)
    ):
        found.append(each)
        if each.row is not None:
            rows.append(shown(opened.tokenizer, each.row, limit=limit))
        if len(rows) == most:
            break
    faults = [fault for each in found for fault in each.faults]
    return ShownData(tuple(rows), (*reading.faults, *faults), _told(found))


def _told(found: Sequence[Rendered]) -> tuple[str, ...]:
    remarks = (remark.message for each in found for remark in each.remarks)
    return tuple(dict.fromkeys(remarks))
