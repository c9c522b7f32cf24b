"""Passages with their vectors and full text in one LanceDB table, on disk or object storage.

Every write is one new version of the table, there or not there: a process that is killed leaves the
version before.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pydantic
from numpy.typing import NDArray

from tunesmith.core import locks
from tunesmith.core.errors import RagError
from tunesmith.retrieval.document import ChunkConfig, library
from tunesmith.retrieval.passage import COLUMNS, Passage, quoted, terms

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "chunks"
KEY = b"tunesmith"
FORMAT = 1
"""Raised when documents are read or cut differently, so that old passages are not kept."""
ROWS_WORTH_AN_INDEX = 20_000  # fewer are compared one by one as fast
REFINED = 2  # times the limit: so many are found by an index's bytes, then compared exactly
OLD = timedelta(hours=1)  # a search that is under way may still read versions younger than this
IDS_AT_ONCE = 500


class StoreSettings(pydantic.BaseModel):
    """What a store was made with: kept in it, and the same for all its passages.

    ``probe`` begins the vector of a known text, to tell a model that has the same name only.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    root: str
    embedding: str
    width: int
    probe: tuple[float, ...]
    tokens: int
    overlap: int

    @property
    def chunk_config(self) -> ChunkConfig:
        """How its documents are cut."""
        return ChunkConfig(self.tokens, self.overlap)


PROBE = "The quick brown fox jumps over the lazy dog."
PROBED = 8  # numbers of it that are kept
TOLERANCE = 0.01  # another processor rounds otherwise


class EmbeddingModel(Protocol):
    """An embedding model, in a folder that also has its tokenizer.json."""

    @property
    def folder(self) -> Path: ...

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> NDArray[np.float32]:
        """[n, D], each row of length 1; some models read questions otherwise than documents."""
        ...


def probe(embedder: EmbeddingModel) -> tuple[int, tuple[float, ...]]:
    """The model's width, and how its vector of a known text begins."""
    vector = embedder.embed([PROBE])[0]
    return len(vector), tuple(round(float(number), 4) for number in vector[:PROBED])


def require_same(embedder: EmbeddingModel, settings: StoreSettings) -> None:
    """Raise RagError where the model gives other vectors than those in the store."""
    width, found = probe(embedder)
    near = all(abs(a - b) <= TOLERANCE for a, b in zip(found, settings.probe, strict=True))
    if width != settings.width or not near:
        what = f"{embedder.folder} is not the model that the store was made with "
        what += f"({settings.embedding})."
        remedy = "Name that model, or index the folder into another store."
        raise RagError(what, remedy=remedy, code="other_model")


@dataclass(frozen=True, slots=True)
class Stored:
    """A document in the store, with the numbers of the chunks that are there."""

    source: str
    parts: int
    found: frozenset[int]

    @property
    def complete(self) -> bool:
        """Whether no chunk is missing."""
        return len(self.found) == self.parts


@dataclass(frozen=True, slots=True)
class Match:
    """A passage that a search found, its vector [D], and the search's own score."""

    passage: Passage
    vector: NDArray[np.float32]
    score: float


class PassageStore:
    """An open store; ``settings`` say how it was made."""

    def __init__(self, table: Any, uri: str) -> None:
        self._table, self.uri = table, uri
        held = (table.schema.metadata or {}).get(KEY, b"")
        try:
            self.settings = StoreSettings.model_validate_json(held)
            if self.settings.format != FORMAT:
                raise ValueError
        except ValueError:  # pydantic's too
            raise _unusable(uri, "was made by another version") from None

    def refresh(self) -> None:
        """See what others have written since it was opened."""
        self._table.checkout_latest()

    def documents(self) -> dict[str, Stored]:
        """Every document by its id."""
        columns = ["document", "source", "part", "parts"]
        rows = self._table.search().select(columns).limit(None).to_arrow().to_pydict()
        found: dict[str, tuple[str, int, set[int]]] = {}
        for document, source, part, parts in zip(*(rows[c] for c in columns), strict=True):
            found.setdefault(document, (source, parts, set()))[2].add(part)
        return {key: Stored(s, parts, frozenset(n)) for key, (s, parts, n) in found.items()}

    def add(self, passages: Sequence[Passage], vectors: NDArray[np.float32]) -> None:
        """All of them or, where this is cut short, none; ``vectors`` are [n, D] of length 1."""
        import pyarrow as pa

        schema = self._table.schema
        columns = {name: [getattr(each, name) for each in passages] for name in COLUMNS}
        columns["terms"] = [terms(searched_text(p)) for p in passages]
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
        arrays = [pa.array(columns[n], type=schema.field(n).type) for n in schema.names[:-1]]
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, self.settings.width))
        self._table.add(pa.Table.from_arrays(arrays, schema=schema))

    def remove(self, documents: Iterable[str]) -> None:
        """Take every chunk of these documents out."""
        names = sorted(documents)
        for start in range(0, len(names), IDS_AT_ONCE):
            listed = ", ".join(map(quoted, names[start : start + IDS_AT_ONCE]))
            self._table.delete(f"document IN ({listed})")

    def prepare(self) -> None:
        """Make what words are searched by, before the first chunk: an index may be killed later."""
        kinds = library("lancedb.index")
        if "terms" not in self._indexed():
            # Stop words stay: "to be or not to be" is a question too.
            words = kinds.FTS(with_position=False, stem=True, remove_stop_words=False)
            self._table.create_index("terms", config=words)
        if "document" not in self._indexed():
            self._table.create_index("document", config=kinds.BTree())

    def _indexed(self) -> set[str]:
        return {column for index in self._table.list_indices() for column in index.columns}

    def finish(self) -> None:
        """Bring the indices up to date, join small files, forget old versions."""
        if self.count() >= ROWS_WORTH_AN_INDEX and "vector" not in self._indexed():
            kinds = library("lancedb.index")
            self._table.create_index("vector", config=kinds.IvfSq(distance_type="cosine"))
        self._table.optimize(cleanup_older_than=OLD)

    def count(self, where: str | None = None) -> int:
        """How many chunks there are, or meet a condition of SQL."""
        return cast("int", self._table.count_rows(where))

    def values(self, column: str) -> list[str]:
        """The different values of a column of passages, sorted."""
        rows = self._table.search().select([column]).limit(None).to_arrow()
        return sorted(rows[column].unique().to_pylist())

    def find(
        self, vector: NDArray[np.float32] | None, text: str | None, limit: int, where: str | None
    ) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Rows by their cosine with ``vector`` [D], and by BM25 of the words in ``text``.

        Both with their scores, highest first, and empty for None; ``where`` is a condition of SQL.
        Rows are numbers until `take`, as reading them costs more than finding them.
        """
        dense = [] if vector is None else self._near(vector, limit, where)
        return dense, [] if text is None else self._said(text, limit, where)

    def nearest(
        self, vector: NDArray[np.float32], limit: int, where: str | None = None
    ) -> list[Match]:
        """Passages by their cosine with ``vector`` [D], highest first."""
        return self._matches(self._near(vector, limit, where))

    def matching(self, text: str, limit: int, where: str | None = None) -> list[Match]:
        """Passages by BM25 of the words in ``text``, highest first."""
        return self._matches(self._said(text, limit, where))

    def _matches(self, rows: Sequence[tuple[int, float]]) -> list[Match]:
        taken = self.take([row for row, _ in rows])
        return [Match(*taken[row], score) for row, score in rows]

    def _near(
        self, vector: NDArray[np.float32], limit: int, where: str | None
    ) -> list[tuple[int, float]]:
        query = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        query = query.refine_factor(REFINED)
        return [(row, 1.0 - far) for row, far in _rows(query, limit, where, score="_distance")]

    def _said(self, text: str, limit: int, where: str | None) -> list[tuple[int, float]]:
        wanted = terms(text).strip()
        if not wanted or not self.count():
            return []
        match = library("lancedb.query").MatchQuery(wanted, "terms")
        query = self._table.search(match, query_type="fts")
        return _rows(query, limit, where, score="_score")

    def take(self, rows: Sequence[int]) -> dict[int, tuple[Passage, NDArray[np.float32]]]:
        """Passages with their vectors [D], by the numbers of their rows."""
        if not rows:
            return {}
        query = self._table.take_row_ids(list(rows)).select([*COLUMNS, "vector"])
        found = query.with_row_id().to_arrow()
        flat = found["vector"].combine_chunks().flatten().to_numpy()
        vectors = flat.reshape(found.num_rows, self.settings.width)
        columns = found.drop_columns(["vector"]).to_pylist()
        return {
            row["_rowid"]: (_passage(row), vector)
            for row, vector in zip(columns, vectors, strict=True)
        }

    def passages(self) -> list[Passage]:
        """Every passage, in the order of sources and parts."""
        rows = self._table.search().select(list(COLUMNS)).limit(None).to_list()
        return sorted(map(_passage, rows), key=lambda p: (p.source, p.part, p.id))

    def parts(self, document: str, numbers: Iterable[int]) -> list[Passage]:
        """These chunks of a document, in order; those that do not exist are left out."""
        listed = ", ".join(f"{number:d}" for number in numbers)
        where = f"document = {quoted(document)} AND part IN ({listed})"
        rows = self._table.search().where(where).select(list(COLUMNS)).limit(None).to_list()
        return sorted((_passage(row) for row in rows), key=lambda passage: passage.part)


def searched_text(passage: Passage) -> str:
    """What is embedded and searched of a passage: its headings say what it is about."""
    if not passage.heading or passage.kind == "rows":
        return passage.text
    return f"{passage.heading}\n{passage.text}"


def open_store(uri: str) -> PassageStore:
    """The store at a path or an address; raises RagError where there is none."""
    store = find_store(uri)
    if store is None:
        what, remedy = f"{uri} holds no store.", f"Make one: tunesmith rag index DIR --store {uri}"
        raise RagError(what, remedy=remedy, code="no_store")
    return store


def find_store(uri: str) -> PassageStore | None:
    """The store at a path or an address; None where there is none."""
    if "://" not in uri and not Path(uri).is_dir():
        library("lancedb")  # a missing library is reported first
        return None
    connection = library("lancedb").connect(uri)
    if TABLE not in connection.list_tables().tables:
        return None
    try:
        return PassageStore(connection.open_table(TABLE), uri)
    except (ValueError, OSError, RuntimeError) as error:
        raise _unusable(uri, f"cannot be opened ({str(error).splitlines()[0][:200]})") from None


def create_store(uri: str, settings: StoreSettings) -> PassageStore:
    """A new store without passages."""
    connection = library("lancedb").connect(uri)
    schema = _schema(settings.width).with_metadata({KEY: settings.model_dump_json().encode()})
    store = PassageStore(connection.create_table(TABLE, schema=schema), uri)
    store.prepare()
    return store


@contextlib.contextmanager
def writing(uri: str) -> Iterator[None]:
    """Be the only process that writes; raises RagError where another one does."""

    def refuse() -> None:
        what = f"Another process is writing to {uri}."
        raise RagError(what, remedy="Wait for it to end.", code="taken")

    if "://" in uri:  # an object storage orders the writes itself, and a later one is refused
        yield
        return
    path = Path(uri).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{uri} cannot be written: {error.strerror}."
        raise RagError(what, remedy="Name another folder.") from None
    with locks.held(path / ".lock", taken=refuse):
        yield


def _schema(width: int) -> "pa.Schema":
    import pyarrow as pa

    types = {"part": pa.int32(), "parts": pa.int32(), "page": pa.int32()}
    types |= {"start": pa.int64(), "stop": pa.int64()}
    fields = [pa.field(name, types.get(name, pa.string())) for name in COLUMNS]
    vector = pa.field("vector", pa.list_(pa.float32(), width))
    return pa.schema([*fields, pa.field("terms", pa.string()), vector])


def _rows(query: Any, limit: int, where: str | None, *, score: str) -> list[tuple[int, float]]:
    """The numbers of the rows that a query finds, with their scores."""
    if where is not None:
        query = query.where(where, prefilter=True)
    found = query.select([score]).with_row_id(True).limit(limit).to_arrow()
    return list(zip(found["_rowid"].to_pylist(), found[score].to_pylist(), strict=True))


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(**{name: row[name] for name in COLUMNS})


def _unusable(uri: str, why: str) -> RagError:
    remedy = "Index the folder into another store, or remove this one first."
    return RagError(f"The store {uri} {why}.", remedy=remedy, code="unusable")
