"""JSON: an object on each line, or one document that is a list of them or holds one."""

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from tunesmith.core.encodings import UTF8
from tunesmith.data.faults import Fault
from tunesmith.data.files.json_document import (
    NO_ROWS,
    holds_rows,
    read_document,
    rows_in_columns,
)
from tunesmith.data.files.source import Source, open_source, unused
from tunesmith.data.files.text import Text, open_text
from tunesmith.data.rows import ReadOptions, Record, UniqueKeys, broken_json, row_of

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
    """The rows of a JSON file in any layout; raises Broken."""
    text = open_text(source, options)
    lists_of_a_row = look(text.head())
    no_effect = ["delimiter", *(["part"] if lists_of_a_row is None else [])]
    yield Record(0, notes=(*text.notes, *unused(options, *no_effect)))
    if lists_of_a_row is None:
        yield from read_json_lines(text)
    else:
        yield from read_document(text, options.part, lists_of_a_row)


def lines_to_copy(path: str, options: ReadOptions) -> Text | None:
    """The text of a file of JSON lines that may be copied line by line as they are; else None."""
    if not Path(path).is_file():
        return None
    source = open_source(Path(path), options.part)
    if source.layers or source.suffix not in JSON_LINES:
        return None
    text = open_text(source, options)
    is_plain = text.encoding == UTF8 and not text.old_lines
    return text if is_plain and look(text.head()) is None else None


def look(head: bytes) -> Collection[str] | None:
    """Which lists of a document that begins so hold no rows; None for an object on each line.

    Of a document that is a row itself these are all of its lists.
    """
    first, _, rest = head.lstrip().partition(b"\n")
    first, rest = first.strip(), rest.lstrip()
    if first[:1] not in (b"[", b"{"):
        return None
    value = None
    try:
        value = json.loads(first)
        is_one = _is_one(value, rest)
    except (ValueError, RecursionError) as error:
        is_one = _continues(first, rest, error)
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(head)
    if not is_one:
        return None
    return value.keys() if isinstance(value, dict) and _is_row(value) else LISTS_OF_A_ROW


def _is_one(value: object, rest: bytes) -> bool:
    """Whether a first line that is JSON, with ``rest`` behind it, is a document."""
    if rest:  # a list of rows is one, whatever follows it; a list of cells is a row
        if not isinstance(value, list) or not value or rest[:1] in (b"[", b"{"):
            return False
        return all(isinstance(row, dict | list) for row in value)
    if not isinstance(value, dict) or rows_in_columns(value):
        return True
    lists = (value[name] for name in value if name not in LISTS_OF_A_ROW)
    holds_rows = any(isinstance(x, list) and x and isinstance(x[0], dict | list) for x in lists)
    return holds_rows and not _is_row(value)


def _is_row(value: Mapping[str, object]) -> bool:
    """Whether an object has the columns of a row, and no list of rows under their names."""
    names = {name for name in value if name in LISTS_OF_A_ROW or not isinstance(value[name], list)}
    is_pair = bool(names & ASKED) and bool(names & ANSWERED)
    return is_pair or bool(names & CHATS) or isinstance(value.get("text"), str)


def _continues(first: bytes, rest: bytes, error: Exception) -> bool:
    """Whether a first line that is no JSON continues in the next, and was not cut or broken."""
    if first.startswith(b"{") and rest.startswith(b"{") and not first.endswith(OPENING):
        return False
    if first.startswith(b"[") or holds_rows(first, LISTS_OF_A_ROW):
        return True
    if not isinstance(error, json.JSONDecodeError) or not rest:
        return False
    return error.pos >= len(first.decode(errors="replace")) or "Unterminated" in error.msg


def read_json_lines(text: Text) -> Iterator[Record]:
    """JSONL; blank lines are allowed, and reported where rows follow."""
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
        line = raw if isinstance(raw, Fault) else text.decoded(raw.rstrip(b"\r\n"))
        value = line if isinstance(line, Fault) else _value(line, decode)
        twice = keys.problem()  # of a line that is broken as well, to be forgotten
        row = value if isinstance(value, Fault) else twice or row_of(value)
        yield Record(number, None, row) if isinstance(row, Fault) else Record(number, row)
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
