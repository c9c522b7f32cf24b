"""The two files of a split: JSON lines byte for byte, rows of other files as JSON lines."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunesmith.data.faults import Problem
from tunesmith.data.files.json_object import is_of_a_list
from tunesmith.data.files.json_text import lines_to_copy
from tunesmith.data.read import Asked
from tunesmith.data.records import read_records
from tunesmith.data.source_key import Content, content_of
from tunesmith.errors import DataError
from tunesmith.files import replace_folder

TRAIN, EVAL = "train.jsonl", "eval.jsonl"


def write_sides(
    asked: Asked, out: Path, is_held: Sequence[bool], *, content: Content | None
) -> None:
    """Both files in ``out``, which is complete or absent; ``is_held`` is told for each row.

    Raises DataError where it cannot be written, or where the source is no longer the ``content``
    that was seen.
    """

    def fill(folder: Path) -> None:
        count = 0
        with (folder / TRAIN).open("wb") as train, (folder / EVAL).open("wb") as held:
            for row in _rows(asked):
                if count < len(is_held):
                    (held if is_held[count] else train).write(row)
                count += 1
        if count != len(is_held) or content_of(asked) != content:
            raise DataError(
                f"{asked.file}: changed while it was read.",
                remedy="Run it again once nothing writes to it any more.",
                code="changed",
            )

    if out.is_dir():
        out.rmdir()  # it is empty
    try:
        replace_folder(out, fill)
    except OSError as error:
        remedy = "Name another folder with --out."
        raise DataError(f"{out} cannot be written: {error.strerror}.", remedy=remedy) from None


def _rows(asked: Asked) -> Iterator[bytes]:
    """Each row with its line's end, in the order in which they are read."""
    text = lines_to_copy(asked.file, asked.options)
    if text is None:
        records = read_records(asked.file, asked.reading)
        yield from (_as_json(record.values) for record in records if record.values is not None)
        return
    for _, raw in text.lines():
        if not isinstance(raw, Problem) and raw.strip():
            yield raw if raw.endswith(b"\n") else raw + b"\n"


def _as_json(row: dict[str, object]) -> bytes:
    value = list(row.values()) if is_of_a_list(row) else row
    try:
        return f"{json.dumps(value, ensure_ascii=False, default=str)}\n".encode()
    except UnicodeEncodeError:  # half of a character, in a column that is not read
        return f"{json.dumps(value, default=str)}\n".encode()
