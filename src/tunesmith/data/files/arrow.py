"""Parquet and Arrow files: rows by batches, nested columns as lists and objects."""

import datetime
import decimal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.faults import Problem
from tunesmith.data.files.record import ReadOptions, Record, unused
from tunesmith.data.files.source import FAILURES, Broken, Source, damaged

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 256


def read_parquet(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of a Parquet file, numbered from 1; raises Broken."""
    yield Record(0, remarks=tuple(unused(options, "encoding", "delimiter", "part")))
    with source.on_disk() as path:
        yield from _records(_parquet_batches(path))


def read_arrow(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of an Arrow file or stream, as the library `datasets` saves them; raises Broken."""
    yield Record(0, remarks=tuple(unused(options, "encoding", "delimiter", "part")))
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
        yield Record(0, None, Problem("empty_file", "holds no rows.", "Name a file with rows."))


def plain(value: object) -> object:
    """A value as JSON has it.

    Inside objects what is null is absent, since a column's objects all have the same keys.
    """
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value
