"""Rows that a library reads: Parquet, Arrow, workbooks, and data sets of the hub."""

import contextlib
import datetime
import decimal
import importlib.util
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tunesmith.core.workers import Lost, Pool
from tunesmith.data.faults import Fault
from tunesmith.data.files.delimited import named_rows
from tunesmith.data.files.sheet_rows import SheetRow, reader
from tunesmith.data.files.source import (
    FAILURES,
    FREE_BYTES,
    MAX_RATIO,
    REMEDY,
    Broken,
    Source,
    damaged,
    unused,
    wrong_part,
)
from tunesmith.data.rows import HUB, ReadOptions, Record

if TYPE_CHECKING:
    import pyarrow as pa


ROWS_AT_ONCE = 256


def _require(library: str, kind: str, extra: str, other: str) -> None:
    if importlib.util.find_spec(library) is None:
        what = f"is {kind}, and the library that reads those is not installed."
        raise Broken("not_installed", what, f"Install it: pip install '{extra}'. Or {other}.")


def read_parquet(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of a Parquet file, numbered from 1; raises Broken."""
    yield Record(0, notes=tuple(unused(options, "encoding", "delimiter", "part")))
    with source.on_disk() as path:
        yield from _records(_parquet_batches(path))


def read_arrow(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of an Arrow file or stream, as the library `datasets` saves them; raises Broken."""
    yield Record(0, notes=tuple(unused(options, "encoding", "delimiter", "part")))
    with source.on_disk() as path:
        yield from _records(_arrow_batches(path))


def _parquet_batches(path: Path) -> Iterator["pa.RecordBatch"]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _require_unique(file.schema_arrow.names)
        yield from file.iter_batches(batch_size=ROWS_AT_ONCE)


def _arrow_batches(path: Path) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as memory:
        if memory.read(6) == b"ARROW1":
            file = pa.ipc.open_file(memory)
            whole = (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            memory.seek(0)
            whole = iter(pa.ipc.open_stream(memory))
        for batch in whole:
            _require_unique(batch.schema.names)
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                yield batch.slice(start, ROWS_AT_ONCE)


def _require_unique(names: Sequence[str]) -> None:
    """Raise Broken for a table that has two columns of one name: rows would lose one of them."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        what = f"has several columns called {', '.join(f'`{name}`' for name in twice[:5])}."
        raise Broken("no_header", what, "Rename them, or leave out those that are not needed.")


def _records(batches: Iterator["pa.RecordBatch"]) -> Iterator[Record]:
    """Rows until the first that cannot be read."""
    number = 0
    while True:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        except Broken as error:
            yield Record(0, None, error.problem)
            return
        except FAILURES as error:
            yield Record(number + 1 if number else 0, None, damaged(error).problem)
            return
        if batch is None:
            break
        for row in rows:
            number += 1
            yield Record(number, {name: plain(value) for name, value in row.items()})
    if not number:
        yield Record(0, None, Fault("empty_file", "holds no rows.", "Name a file with rows."))


def plain(value: object) -> object:
    """A column's value as JSON has it; a decimal as its text, since JSON's numbers would round it.

    Inside objects what is null is absent, since a column's objects all have the same keys.
    """
    return str(value) if isinstance(value, decimal.Decimal) else _plain_inside(value)


def _plain_inside(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain_inside(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain_inside(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value


MAX_UNPACKED = 2 << 30
SHOWN_REASON = 200
SHEET_READER = f"{reader.__module__}:{reader.__name__}"
MAX_MEMORY_BYTES = 6 << 30  # of addresses: a sheet is held whole
MAX_SECONDS = 600.0


def read_sheet(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of the one sheet that holds any, or of the one named; raises Broken."""
    _require("python_calamine", "a workbook", "tunesmith[sheets]", "save the sheet as CSV")
    yield Record(0, notes=tuple(unused(options, "encoding", "delimiter")))
    with source.on_disk() as path:
        _refuse_large(path)
        pool = Pool[None, list[SheetRow]](
            SHEET_READER,
            (str(path), options.part),
            processes=1,
            lost=_lost,
            seconds=MAX_SECONDS,
            memory_bytes=MAX_MEMORY_BYTES,
        )
        with pool:
            rows = _rows(pool.map(repeat(None)), options.part)
            yield from named_rows(rows, header=options.header)


def _rows(batches: Iterator[list[SheetRow]], part: str | None) -> Iterator[SheetRow]:
    """Rows of cells with their numbers; raises Broken where a sheet must be chosen, or it fails."""
    try:
        for number, cells in chain.from_iterable(takewhile(bool, batches)):
            if not number:
                several = f"has {len(cells)} sheets"
                raise Broken(*wrong_part(cells, part, noun="sheet", several=several))
            yield number, cells
    except (OSError, MemoryError) as error:
        raise _failed(f"{type(error).__name__}: {error}") from None


def _lost(lost: Lost) -> NoReturn:
    if lost.timed_out:
        what = f"took longer than {MAX_SECONDS:.0f} s to read."
        raise Broken("broken_file", what, "Save the sheet as CSV.")
    raise _failed(lost.why)


def _refuse_large(path: Path) -> None:
    """Raise Broken for a workbook that unpacks to more than any that a person made."""
    if not zipfile.is_zipfile(path):
        return
    with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * path.stat().st_size)):
            what = f"unpacks to {size >> 20:,} MB."
            raise Broken("unpacks_too_large", what, "Save the sheet as CSV.")


def _failed(errors: str) -> Broken:
    """Why the process ended, in its own words."""
    if "memory allocation" in errors or "MemoryError" in errors:
        what = "takes too much memory: a cell far below and to the right of the others makes it "
        return Broken("broken_file", f"{what}vast.", "Remove it, or save the sheet as CSV.")
    reason = errors.rpartition("Error: ")[2][:SHOWN_REASON] or "no reason given"
    return Broken("broken_file", f"is damaged, or no workbook: {reason}.", REMEDY)


DEFAULT_PART = "train"
SHOWN_HUB_REASON = 300


def read_hub(path: str, options: ReadOptions) -> Iterator[Record]:
    """The rows of one part of a data set, numbered from 1; raises Broken. Runs no code of it."""
    other = "download a file of it and name that"
    _require("datasets", "a data set of the hub", "tunesmith[hub]", other)
    yield Record(0, notes=tuple(unused(options, "encoding", "delimiter")))
    name, _, config = path.removeprefix(HUB).removeprefix("//datasets/").partition(":")
    number = 0
    try:
        for row in _hub_rows(name, config or None, options.part or DEFAULT_PART):
            number += 1
            yield Record(number, {column: plain(value) for column, value in row.items()})
    except Exception as error:  # whatever a network and a library of many others come to
        reason = " ".join(str(error).split())[:SHOWN_HUB_REASON].rstrip(".") or type(error).__name__
        after = f" after row {number}" if number else ""
        what = f"the hub's data set cannot be read{after}: {reason}."
        remedy = f"Check its name, --data.part and the network; or {other}."
        raise Broken("hub", what, remedy) from None
    if not number:
        raise Broken("empty_file", "holds no rows.", "Name another part with --data.part.")


def _hub_rows(name: str, config: str | None, part: str) -> Iterator[Mapping[str, object]]:
    import datasets

    # Since version 4 the library knows no data sets with code of their own.
    yield from datasets.load_dataset(name, config, split=part, streaming=True)
