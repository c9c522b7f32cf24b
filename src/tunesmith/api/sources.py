"""Data as Python holds it: paths stay paths, rows in memory become a file that a run can resume."""

import datetime
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from tunesmith.core.errors import DataError, UsageError
from tunesmith.data.files.binary import plain
from tunesmith.models.cache import cache_root

SHOWN_VALUE = 60


class Table(Protocol):
    """What Arrow can read without a copy: tables of pandas, polars, pyarrow, ..."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow PyCapsule stream."""


Rows = Iterable[Mapping[str, object]]
Data = str | Path | Sequence[str | Path] | Rows | Table
_SOURCE_KEYS = {"path", "weight", "format", "map", "encoding", "delimiter", "part"}


def as_source(data: object) -> object:
    """Data as a config names it: paths pass through, rows are written once into the cache.

    Rows are a list of dicts, a `datasets.Dataset`, or a table of pandas, polars or Arrow. Equal
    rows give the same file. Raises DataError with row and column for a value that JSON cannot
    hold; missing values of tables are null, and inside objects absent, as in Parquet files.
    """
    if data is None or isinstance(data, str | int | float):
        return data
    if isinstance(data, Path):
        return str(data)
    if isinstance(data, Sequence) and not isinstance(data, bytes) and len(data) > 0:
        if all(isinstance(each, str | Path) for each in data):
            return [str(each) for each in data]
        if all(isinstance(each, Mapping) and _is_source(each) for each in data):
            return [dict(each) for each in data]
    return str(_written(_rows_of(data)))


def one_file(data: object, verb: str) -> str:
    """The one file that data is; raises UsageError for several."""
    source = as_source(data)
    listed = source if isinstance(source, list) else [source]
    if len(listed) == 1 and isinstance(listed[0], Mapping):
        raise UsageError(
            f"`{verb}` takes a path or rows, and no settings of a source with it.",
            remedy="Give its path, and how it is read as settings.",
        )
    if len(listed) != 1:
        raise UsageError(
            f"`{verb}` takes one file, and {len(listed)} are given.",
            remedy="Call it for each, or put their rows into one.",
        )
    return str(listed[0])


def _is_source(values: Mapping[str, object]) -> bool:
    """Whether a dict names a file, as in a config; a row has other columns."""
    return "path" in values and values.keys() <= _SOURCE_KEYS


def _rows_of(data: object) -> Iterator[object]:
    # A Dataset's own iterator applies its formats; pandas' gives the names of columns.
    if hasattr(data, "__arrow_c_stream__") and not hasattr(data, "column_names_and_features"):
        return _rows_of_table(cast("Table", data))
    if isinstance(data, Iterable) and not isinstance(data, bytes | Mapping):
        return map(_without_nulls, data) if hasattr(data, "features") else iter(data)
    raise DataError(
        f"Rows cannot be read from {type(data).__name__}.",
        remedy="Give a path, a list of dicts, a datasets.Dataset, or a table of pandas, polars or "
        "Arrow.",
    )


def _rows_of_table(table: Table) -> Iterator[object]:
    import pyarrow

    reader = pyarrow.RecordBatchReader.from_stream(table)
    names = [name for name in reader.schema.names if not name.startswith("__index_level_")]
    for batch in reader:
        yield from map(_without_nulls, batch.select(names).to_pylist())


def _without_nulls(row: object) -> object:
    """A row of a Dataset or table: Arrow gives all objects of a column the keys of each other."""
    return {k: plain(v) for k, v in row.items()} if isinstance(row, Mapping) else row


def _written(rows: Iterator[object]) -> Path:
    """`<cache>/rows/<SHA-256 of the content>.jsonl`, complete or absent."""
    folder = cache_root() / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    temporary, digest, number = folder / f".{os.getpid()}-{id(rows)}.part", hashlib.sha256(), 0
    try:
        with temporary.open("wb") as file:
            for number, row in enumerate(rows, start=1):
                line = f"{json.dumps(_plain_row(row, number), ensure_ascii=False)}\n"
                raw = line.encode("utf-8", "surrogatepass")
                digest.update(raw)
                file.write(raw)
        if not number:
            raise DataError("There are no rows.", remedy="Give at least one.", code="no_rows")
        path = folder / f"{digest.hexdigest()}.jsonl"
        if not path.exists():  # its time stamp is part of what caches know it by
            temporary.replace(path)
        return path
    finally:
        temporary.unlink(missing_ok=True)


def _plain_row(row: object, number: int) -> dict[str, object]:
    if not isinstance(row, Mapping):
        raise DataError(
            f"Row {number:,} is {type(row).__name__}, and rows are dicts of columns.",
            remedy='Write each as a dict, such as {"prompt": ..., "completion": ...}.',
        )
    return {str(name): _plain(value, number, str(name)) for name, value in row.items()}


def _plain(value: object, number: int, column: str) -> object:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v, number, f"{column}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, number, column) for each in value]
    if isinstance(value, datetime.date):  # NaT, which pandas makes one too, is not itself
        return value.isoformat() if value == value else None
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist(), number, column)
    if isinstance(value, float) and not math.isinf(value):
        return None if math.isnan(value) else value
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN_VALUE else f"{shown[:SHOWN_VALUE]}..."
    raise DataError(
        f'Row {number:,}, column "{column}": {type(value).__name__} {shown} cannot be written as '
        "JSON.",
        remedy="Make it a text, a number, a list or a dict.",
        code="not_json",
    )
