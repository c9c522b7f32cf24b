"""Which records a data file holds: lines in, JSON objects with their line numbers out."""

import codecs
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tunesmith.data.faults import Fault, Problem

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF8_REMEDY = "Save it as UTF-8, for example: iconv -f ENCODING -t UTF-8 FILE."

DOCUMENT = Problem(
    "not_json_lines",
    "is one JSON document over many lines, not one object per line.",
    "Write it as JSON lines, for example: jq -c '.[]' FILE > rows.jsonl.",
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its ``values``, or the ``problem`` that kept it from being read.

    With neither it is a blank line between records; line 0 stands for the whole file.
    """

    line: int
    values: dict[str, object] | None = None
    problem: Problem | None = None

    @property
    def is_blank(self) -> bool:
        """Whether it is a blank line."""
        return self.values is None and self.problem is None

    def fault(self, file: str) -> Fault | None:
        """The problem in its place, if there is one."""
        return self.problem.at(file, self.line or None) if self.problem else None


RecordReader = Callable[[BinaryIO], Iterator[Record]]


def read_records(
    path: Path, *, readers: Mapping[str, RecordReader] | None = None
) -> Iterator[Record]:
    """The records of ``path`` in order; a file that cannot be read is one record at line 0.

    ``readers`` by suffix, those of training data unless given.
    """
    readers = READERS if readers is None else readers
    reader = readers.get(path.suffix.lower())
    if path.is_dir():
        problem = Problem("not_a_file", "is a folder.", "Name one data file in it.")
    elif not path.exists():
        problem = Problem("missing_file", "does not exist.", _nearby(path))
    elif reader is None:
        kinds = ", ".join(readers)
        problem = Problem(
            "unknown_file_kind",
            f"files of kind `{path.suffix or 'without suffix'}` are not read (known: {kinds}).",
            "Write one JSON object per line into a .jsonl file.",
        )
    else:
        try:
            with path.open("rb") as file:
                yield from reader(file)
        except OSError as error:
            problem = Problem(
                "unreadable_file", f"cannot be read: {error.strerror}.", "Check its permissions."
            )
        else:
            return
    yield Record(0, None, problem)


def _nearby(path: Path) -> str:
    known = path.parent.glob("*") if path.parent.is_dir() else ()
    names = sorted(entry.name for entry in known if entry.suffix in READERS)[:5]
    there = f"{path.parent} holds {', '.join(names)}. " if names else ""
    return f"{there}Paths are taken from the working directory."


def read_json_lines(file: BinaryIO) -> Iterator[Record]:
    """JSONL in UTF-8, with or without a byte order mark; blank lines are allowed."""
    blank: list[Record] = []
    line = 0
    for line, raw in enumerate(file, start=1):
        if line == 1 and raw.startswith(UTF16_MARKS):
            yield Record(0, None, Problem("not_utf8", "is UTF-16, not UTF-8.", UTF8_REMEDY))
            return
        text = raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw
        if not text.strip():
            blank.append(Record(line))
            continue
        if line == len(blank) + 1 and text.strip() in (b"[", b"{"):
            yield Record(0, None, DOCUMENT)
            return
        yield from blank
        blank = []
        yield _record(line, text)
    if line == len(blank):
        yield Record(0, None, Problem("empty_file", "holds no rows.", "Name a file with rows."))


def _record(line: int, raw: bytes) -> Record:
    try:
        values = json.loads(raw.rstrip(b"\r\n").decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line is not UTF-8 (0x{raw[error.start]:02x})."
        return Record(line, None, Problem("not_utf8", message, UTF8_REMEDY))
    except json.JSONDecodeError as error:
        return _broken(line, f"{error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return _broken(line, str(error))
    if not isinstance(values, dict):
        problem = Problem(
            "not_an_object",
            f"a row must be a JSON object, this is {kind_of(values)}.",
            'Write each row as {"column": value, ...} on a line of its own.',
        )
        return Record(line, None, problem)
    return Record(line, values)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"key given twice: {', '.join(twice)}")
    return values


def _broken(line: int, reason: str) -> Record:
    remedy = "Each line must be one complete JSON object."
    return Record(line, None, Problem("broken_json", f"not valid JSON: {reason}.", remedy))


def kind_of(value: object) -> str:
    """What a user would call the JSON value: text, a number, a list, ..."""
    names: dict[type, str] = {str: "text", bool: "true or false", dict: "an object", list: "a list"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names[type(value)]


READERS: dict[str, RecordReader] = dict.fromkeys((".jsonl", ".ndjson", ".json"), read_json_lines)
