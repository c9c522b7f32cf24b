"""Plain text to be trained as it is: a file is one text, a long one several, cut between lines."""

from collections.abc import Iterator

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.files.record import ReadOptions, Record, unused
from tunesmith.data.files.source import Source
from tunesmith.data.files.text import open_text

COLUMN = "text"
# Far more than a model's context, and little enough to be tokenised at once.
MOST_TEXT_BYTES = 1 << 20
CUT = Remark(
    "long_text",
    f"parts of a text of more than {MOST_TEXT_BYTES >> 20} MB: it was cut between paragraphs, or "
    "else lines",
)


def read_prose(source: Source, options: ReadOptions) -> Iterator[Record]:
    """One record for a text, or for each part of a long one, with the line where it begins."""
    text = open_text(source, options)
    yield Record(0, remarks=(*text.remarks, *unused(options, "delimiter", "part")))
    kept: list[str] = []
    start, size, parts = 1, 0, 0
    for number, raw in text.lines():
        line = raw if isinstance(raw, Problem) else text.decoded(raw)
        if isinstance(line, Problem):
            yield Record(number, None, line)
            continue
        if not kept and not line.strip():
            continue
        start = start if kept else number
        kept.append(line)
        size += len(line)
        is_paragraph = not line.strip()
        if size >= MOST_TEXT_BYTES or (is_paragraph and size >= MOST_TEXT_BYTES // 2):
            parts += 1
            yield _text(start, kept, is_part=True)
            kept, size = [], 0
    if kept:
        yield _text(start, kept, is_part=parts > 0)
    elif not parts:
        yield Record(0, None, Problem("empty_file", "holds no text.", "Name a file with text."))


def _text(start: int, lines: list[str], *, is_part: bool) -> Record:
    text = "".join(lines).replace("\r\n", "\n").strip("\n")
    return Record(start, {COLUMN: text}, remarks=(CUT,) if is_part else ())
