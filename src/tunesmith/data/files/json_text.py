"""JSON: an object on each line, or one document that is a list of them or holds one."""

import json
from collections.abc import Iterator

from tunesmith.data.faults import Problem
from tunesmith.data.files.json_document import NO_ROWS, holds_rows, read_document
from tunesmith.data.files.json_object import (
    UniqueKeys,
    broken_json,
    not_an_object,
)
from tunesmith.data.files.record import ReadOptions, Record, unused
from tunesmith.data.files.source import Source
from tunesmith.data.files.text import Text, open_text

# Columns of a row that hold lists: an object with one of them is a row, not a document of rows.
LISTS_OF_A_ROW = frozenset({"messages", "conversations", "conversation", "dialog", "dialogue"})
LISTS_OF_A_ROW |= {"chat", "history", "prompt", "completion", "chosen", "rejected", "choices"}
LISTS_OF_A_ROW |= {"tools", "functions"}
OPENING = (b"[", b"{", b",", b":")


def read_json(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of a JSON file, whichever way they stand in it; raises Broken."""
    text = open_text(source, options)
    is_one = is_document(text.head())
    remarks = [*text.remarks, *unused(options, "delimiter", *([] if is_one else ["part"]))]
    yield Record(0, remarks=tuple(remarks))
    if is_one:
        yield from read_document(text, options.part, LISTS_OF_A_ROW)
    else:
        yield from read_json_lines(text)


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
    if rest:
        return False
    return isinstance(value, list) or holds_rows(first, LISTS_OF_A_ROW)


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
    number = 0
    for number, raw in text.lines():
        if isinstance(raw, bytes) and not raw.strip():
            blank.append(Record(number))
            continue
        yield from blank
        blank = []
        yield Record(number, None, raw) if isinstance(raw, Problem) else _record(text, number, raw)
    if number == len(blank):
        yield Record(0, None, NO_ROWS)


def _record(text: Text, line: int, raw: bytes) -> Record:
    decoded = text.decoded(raw.rstrip(b"\r\n"))
    if isinstance(decoded, Problem):
        return Record(line, None, decoded)
    keys = UniqueKeys()
    try:
        values = json.loads(decoded, object_pairs_hook=keys)
    except json.JSONDecodeError as error:
        return Record(line, None, broken_json(f"{error.msg} at column {error.colno}"))
    except (ValueError, RecursionError) as error:
        return Record(line, None, broken_json(str(error)))
    problem = keys.problem() or not_an_object(values)
    return Record(line, None, problem) if problem else Record(line, values)
