"""JSON: an object on each line, or one document that is a list of them or holds one."""

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tunesmith.data.faults import Problem
from tunesmith.data.files.json_document import (
    NO_ROWS,
    UniqueKeys,
    broken_json,
    holds_rows,
    read_document,
    rows_in_columns,
)
from tunesmith.data.files.source import Source, open_source, unused
from tunesmith.data.files.text import UTF8, Text, open_text
from tunesmith.data.rows import ReadOptions, Record, row_of

# Columns that make an object a row, whatever lists of objects it has beside them.
CHATS = frozenset({"messages", "conversations", "conversation", "dialog", "dialogue", "chat"})
ASKED = frozenset({"prompt", "instruction", "query", "question"})
ANSWERED = frozenset({"completion", "output", "response", "answer", "choices"})
# Columns of a row that hold lists: an object with one of them is a row, not a document of rows.
LISTS_OF_A_ROW = CHATS | {"history", "prompt", "completion", "chosen", "rejected", "choices"}
LISTS_OF_A_ROW |= {"tools", "functions", "turns"}
JSON_LINES = (".jsonl", ".ndjson")
OPENING = (b"[", b"{", b",", b":")


def read_json(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of a JSON file, whichever way they stand in it; raises Broken."""
    text = open_text(source, options)
    is_one = is_document(text.head())
    remarks = [*text.remarks, *unused(options, "delimiter", *([] if is_one else ["part"]))]
    yield Record(0, remarks=tuple(remarks))
    if is_one:
        yield from read_document(text, options.part, _lists_of_a_row(text.head()))
    else:
        yield from read_json_lines(text)


def lines_to_copy(path: str, options: ReadOptions) -> Text | None:
    """The text of a file of JSON lines that may be copied line by line as they are; else None."""
    if not Path(path).is_file():
        return None
    source = open_source(Path(path), options.part)
    if source.layers or source.suffix not in JSON_LINES:
        return None
    text = open_text(source, options)
    is_plain = text.encoding == UTF8 and not text.old_lines
    return text if is_plain and not is_document(text.head()) else None


def is_document(head: bytes) -> bool:
    """Whether a text that begins so is one document, and not an object on each line."""
    first, _, rest = head.lstrip().partition(b"\n")
    first, rest = first.strip(), rest.lstrip()
    if first[:1] not in (b"[", b"{"):
        return False
    try:
        value = json.loads(first)
    except (ValueError, RecursionError) as error:
        return _goes_on(first, rest, error)
    if rest:  # a list of rows is one, whatever stands behind it; a list of cells is a row
        is_list = isinstance(value, list) and bool(value) and rest[:1] not in (b"[", b"{")
        return is_list and all(isinstance(row, dict | list) for row in value)
    if isinstance(value, dict) and rows_in_columns(value):
        return True
    return isinstance(value, list) or (not _is_row(value) and holds_rows(first, LISTS_OF_A_ROW))


def _is_row(value: object) -> bool:
    """Whether it is an object with the columns of a row, and no list of rows under their names."""
    if not isinstance(value, dict):
        return False
    names = {name for name in value if name in LISTS_OF_A_ROW or not isinstance(value[name], list)}
    is_pair = bool(names & ASKED) and bool(names & ANSWERED)
    return is_pair or bool(names & CHATS) or isinstance(value.get("text"), str)


def _lists_of_a_row(head: bytes) -> Collection[str]:
    """The lists of a document that are none of rows; all, where the document is a row itself."""
    try:
        value = json.loads(head)
    except (ValueError, RecursionError):
        return LISTS_OF_A_ROW
    return value.keys() if _is_row(value) else LISTS_OF_A_ROW


def _goes_on(first: bytes, rest: bytes, error: Exception) -> bool:
    """Whether a first line that is no JSON goes on in the next, and was not cut or broken."""
    if first.startswith(b"{") and rest.startswith(b"{") and not first.endswith(OPENING):
        return False
    if first.startswith(b"[") or holds_rows(first, LISTS_OF_A_ROW):
        return True
    if not isinstance(error, json.JSONDecodeError) or not rest:
        return False
    return error.pos >= len(first.decode(errors="replace")) or "Unterminated" in error.msg


def read_json_lines(text: Text) -> Iterator[Record]:
    """JSONL; blank lines are allowed, and told where rows follow."""
    blank: list[Record] = []
    keys = UniqueKeys()
    decode = json.JSONDecoder(object_pairs_hook=keys.make).decode
    number = 0
    for number, raw in text.lines():
        if isinstance(raw, bytes) and not raw.strip():
            blank.append(Record(number))
            continue
        yield from blank
        blank = []
        line = raw if isinstance(raw, Problem) else text.decoded(raw.rstrip(b"\r\n"))
        value = line if isinstance(line, Problem) else _value(line, decode)
        twice = keys.problem()  # of a line that is broken as well, to be forgotten
        row = value if isinstance(value, Problem) else twice or row_of(value)
        yield Record(number, None, row) if isinstance(row, Problem) else Record(number, row)
    if number == len(blank):
        yield Record(0, None, NO_ROWS)


def _value(line: str, decode: Callable[[str], object]) -> object:
    """The JSON value of a line, or why it is none."""
    try:
        return decode(line)
    except json.JSONDecodeError as error:
        return broken_json(f"{error.msg.removesuffix(' at')} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return broken_json(str(error))
