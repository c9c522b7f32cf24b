"""Every kind of data file, and which one a file is."""

from collections.abc import Callable, Iterator, Mapping

from tunesmith.data.files.arrow import read_arrow, read_parquet
from tunesmith.data.files.delimited import read_delimited
from tunesmith.data.files.json_text import JSON_LINES, read_json
from tunesmith.data.files.prose import read_prose
from tunesmith.data.files.record import ReadOptions, Record
from tunesmith.data.files.sheet import read_sheet
from tunesmith.data.files.source import Broken, Source

RecordReader = Callable[[Source, ReadOptions], Iterator[Record]]

READERS: Mapping[str, RecordReader] = {
    **dict.fromkeys((*JSON_LINES, ".json"), read_json),
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv", ".ssv"), read_delimited),
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), read_sheet),
    **dict.fromkeys((".txt", ".md"), read_prose),
}
# What a file is by its first bytes, whatever it is called.
MAGIC = (
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".arrow"),
    (b"PK", ".xlsx"),
    (b"\xd0\xcf\x11\xe0", ".xls"),
)


def reader_of(source: Source, readers: Mapping[str, RecordReader]) -> RecordReader:
    """What reads the file; raises Broken where nothing does."""
    head = source.head(64)
    if not head.strip():
        raise Broken("empty_file", "holds no rows.", "Name a file with rows.")
    suffix = next((suffix for magic, suffix in MAGIC if head.startswith(magic)), source.suffix)
    if suffix not in readers and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        suffix = ".json"
    if suffix not in readers:
        raise Broken(
            "unknown_file_kind",
            f"files of kind `{source.suffix or 'without suffix'}` are not read (known: "
            f"{', '.join(readers)}; packed as .gz, .zst, .bz2, .xz or .zip).",
            "Give the file the suffix of what it is, or write one JSON object per line into a "
            ".jsonl file.",
        )
    return readers[suffix]
