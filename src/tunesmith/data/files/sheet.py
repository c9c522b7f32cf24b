"""Workbooks (XLSX, XLS, ODS): a sheet's rows, read in a process of its own."""

import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tunesmith.data.files import sheet_rows
from tunesmith.data.files.header import Cells, named_rows
from tunesmith.data.files.record import ReadOptions, Record, unused
from tunesmith.data.files.source import FREE_BYTES, MEND, MOST_RATIO, Broken, Source

MOST_UNPACKED = 2 << 30
SHOWN_REASON = 200


def read_sheet(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of the one sheet that holds any, or of the one named; raises Broken."""
    yield Record(0, remarks=tuple(unused(options, "encoding", "delimiter")))
    with source.on_disk() as path, tempfile.TemporaryFile() as errors:
        _refuse_large(path)
        command = [sys.executable, "-P", str(Path(sheet_rows.__file__)), str(path)]
        command += [options.part] if options.part is not None else []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            try:
                yield from named_rows(_rows(process, errors, options.part), header=options.header)
            finally:
                process.kill()


def _rows(
    process: subprocess.Popen[bytes], errors: IO[bytes], part: str | None
) -> Iterator[tuple[int, Cells]]:
    """Rows of cells with their numbers; raises Broken where a sheet must be chosen, or it fails."""
    assert process.stdout is not None
    for line in process.stdout:
        value = json.loads(line)
        if isinstance(value, list):
            number, *cells = value
            yield number, cells
        elif names := value.get("sheets"):
            shown = ", ".join(names)
            if part is not None:
                what = f"has no sheet `{part}` (found: {shown})."
                raise Broken("unknown_part", what, "Name one of them with --data.part.")
            what, remedy = (
                f"has {len(names)} sheets: {shown}.",
                "Say which, for example --data.part ",
            )
            raise Broken("several_parts", what, f"{remedy}{shlex.quote(names[0])}.")
    if process.wait():
        errors.seek(0)
        raise _failed(errors.read().decode(errors="replace"))


def _refuse_large(path: Path) -> None:
    """Raise Broken for a workbook that unpacks to more than any that a person made."""
    if not zipfile.is_zipfile(path):
        return
    with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > min(MOST_UNPACKED, max(FREE_BYTES, MOST_RATIO * path.stat().st_size)):
            what = f"unpacks to {size >> 20:,} MB."
            raise Broken("unpacks_too_large", what, "Save the sheet as CSV.")


def _failed(errors: str) -> Broken:
    """Why the process ended, in its own words."""
    if "memory allocation" in errors or "MemoryError" in errors:
        what = (
            "takes too much memory: a cell far below and to the right of the others makes it vast."
        )
        return Broken("broken_file", what, "Remove that cell, or save the sheet as CSV.")
    said = [line for line in errors.strip().splitlines() if line.strip()]
    reason = said[-1].rpartition("Error: ")[2][:SHOWN_REASON] if said else "no reason given"
    return Broken("broken_file", f"is damaged, or no workbook: {reason}.", MEND)
