"""Which files of a store could not be read, so that they are not tried again until they change."""

from collections.abc import Mapping
from dataclasses import astuple

from tunesmith.rag.extra import library
from tunesmith.rag.one_file import Refused

TABLE = "refused"
PASSING = {"changed", "file_system"}  # the next time it may be otherwise


def known_refusals(uri: str) -> dict[str, Refused]:
    """What was refused, by the document's id."""
    connection = library("lancedb").connect(uri)
    if TABLE not in connection.list_tables().tables:
        return {}
    rows = connection.open_table(TABLE).search().limit(None).to_list()
    return {r["document"]: Refused(r["message"], r["remedy"], r["code"]) for r in rows}


def keep_refusals(uri: str, refused: Mapping[str, Refused]) -> None:
    """Put these in the place of what was known; reasons that pass are not kept."""
    import pyarrow as pa

    kept = {key: each for key, each in refused.items() if each.code not in PASSING}
    if kept == known_refusals(uri):
        return
    columns = ("document", "message", "remedy", "code")
    rows = [dict(zip(columns, (key, *astuple(each)), strict=True)) for key, each in kept.items()]
    schema = pa.schema([(column, pa.string()) for column in columns])
    connection = library("lancedb").connect(uri)
    is_there = TABLE in connection.list_tables().tables
    table = pa.Table.from_pylist(rows, schema=schema)
    connection.create_table(TABLE, table, mode="overwrite" if is_there else "create")
