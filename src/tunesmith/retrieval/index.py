"""A folder brought into a store: what is new is embedded, what is gone leaves, the rest stays."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

from tunesmith.core.errors import RagError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.retrieval.document import Chunk, ChunkConfig, library
from tunesmith.retrieval.passage import Passage
from tunesmith.retrieval.read import Answer, FileOrder, Reading, Refused, list_files, read_files
from tunesmith.retrieval.store import (
    EmbeddingModel,
    PassageStore,
    Stored,
    StoreSettings,
    create_store,
    find_store,
    probe,
    require_same,
    searched_text,
    writing,
)

CHUNKS_AT_ONCE = 256  # embedded, then written as one version of the store: what a kill can lose


@dataclass(frozen=True, slots=True)
class IndexedFolder:
    """What is indexed: a folder, the name of the embedding model, and how to load it."""

    folder: Path
    embedding: str
    load: Callable[[], EmbeddingModel]
    chunk_config: ChunkConfig = field(default_factory=ChunkConfig)


@dataclass(slots=True)
class Indexed:
    """What became of the folder; documents are counted, except in ``chunks`` (all in the store).

    ``refused`` are files that could not be read, by name; ``left_out`` counts files by endings
    that are not read at all.
    """

    documents: int = 0
    chunks: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    embedded_chunks: int = 0
    refused: dict[str, Refused] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def index(
    source: IndexedFolder,
    uri: str,
    *,
    progress: Progress = SILENT,
    reading: Reading | None = None,
) -> Indexed:
    """Make the store at ``uri`` hold what the folder holds.

    A file that cannot be read is reported in the result and removed from the store. A cancel
    at any moment leaves a store that opens, and the next call resumes. Raises RagError
    where the folder or the store cannot be used, and where a store would be emptied.
    """
    reading = reading or Reading()
    listing = list_files(source.folder, but=None if "://" in uri else Path(uri))
    result = Indexed(refused=dict(listing.refused), left_out=dict(listing.left_out))
    wanted = {_document_id(file): file for file in listing.files}
    with writing(uri):
        store = find_store(uri)
        if store is not None:
            _require_fit(store, source)
            store.prepare()
        have = store.documents() if store is not None else {}
        known = {} if reading.retry_failed else known_refusals(uri)
        result.refused |= {f.source: known[key] for key, f in wanted.items() if key in known}
        missing = {
            key: file
            for key, file in wanted.items()
            if key not in known and not (key in have and have[key].complete)
        }
        if missing:
            embedder = source.load()
            store = store or create_store(uri, _settings(source, embedder))
            require_same(embedder, store.settings)
            filling = _Filling(store, embedder, have, result, progress)
            made = read_files(
                [*missing.values()], embedder.folder, store.settings.chunk_config, reading
            )
            with contextlib.closing(made):
                filling.fill(missing, made)
        is_kept = any(file.source not in result.refused for file in wanted.values())
        if store is None or (have and not is_kept):  # nothing would be left of what it holds
            raise _nothing(source.folder, result)
        _settle(store, wanted, have, result)
    if not result.documents:
        raise _nothing(source.folder, result)
    return result


def _settle(
    store: PassageStore, wanted: dict[str, FileOrder], have: dict[str, Stored], result: Indexed
) -> None:
    """Take out what is gone or can no longer be read, and count what became of it all."""
    refused = {
        key: result.refused[f.source] for key, f in wanted.items() if f.source in result.refused
    }
    gone = have.keys() - (wanted.keys() - refused.keys())
    store.remove(gone)
    keep_refusals(store.uri, refused)
    if result.embedded_chunks or gone:
        store.finish()
    _count(result, before=have, after=store.documents())
    result.chunks = store.count()


@dataclass(slots=True)
class _Filling:
    """Chunks on their way into the store."""

    store: PassageStore
    embedder: EmbeddingModel
    have: dict[str, Stored]
    result: Indexed
    progress: Progress
    waiting: list[Passage] = field(default_factory=list)

    def fill(self, missing: dict[str, FileOrder], answers: Iterator[Answer]) -> None:
        """Embed and add what these documents lack, as each was read."""
        phase = self.progress.phase("indexing files", len(missing))
        pairs = zip(missing.items(), answers, strict=True)
        for done, ((key, file), answer) in enumerate(pairs, start=1):
            if isinstance(answer, Refused):
                self.result.refused[file.source] = answer
            else:
                known = self.have[key].found if key in self.have else frozenset()
                every = _passages(key, file.source, *answer)
                self.waiting += [each for each in every if each.part not in known]
            while len(self.waiting) >= CHUNKS_AT_ONCE:
                self._add(CHUNKS_AT_ONCE)
                phase.at(done - 1)
        self._add(len(self.waiting))
        phase.at(len(missing))

    def _add(self, count: int) -> None:
        some, self.waiting = self.waiting[:count], self.waiting[count:]
        if some:
            self.store.add(some, self.embedder.embed([searched_text(each) for each in some]))
            self.result.embedded_chunks += len(some)


def _document_id(file: FileOrder) -> str:
    """The same for the same name with the same content."""
    text = f"{file.source}\0{file.sha256}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _passages(document: str, source: str, kind: str, chunks: list[Chunk]) -> Iterator[Passage]:
    for part, chunk in enumerate(chunks):
        yield Passage(
            id=f"{document}:{part}",
            document=document,
            source=source,
            part=part,
            parts=len(chunks),
            kind=kind,
            **asdict(chunk),
        )


def _settings(source: IndexedFolder, embedder: EmbeddingModel) -> StoreSettings:
    width, begins = probe(embedder)
    return StoreSettings(
        root=str(source.folder.absolute()),
        embedding=source.embedding,
        width=width,
        probe=begins,
        **asdict(source.chunk_config),
    )


def _require_fit(store: PassageStore, source: IndexedFolder) -> None:
    """Raise RagError where the store holds another folder, or was made with other settings."""
    held = store.settings
    root = Path(held.root)
    if root.resolve() != source.folder.resolve() and root.is_dir():
        what = f"{store.uri} holds the documents of {root}, which would all leave."
        remedy = f"Index {source.folder} into another store."
        raise RagError(what, remedy=remedy, code="other_folder")
    if held.embedding != source.embedding or held.chunk_config != source.chunk_config:
        what = f"{store.uri} was made with {held.embedding} and passages of "
        what += f"{pluralize(held.tokens, 'token')} with {held.overlap} shared."
        remedy = "Give the same, or index the folder into another store."
        raise RagError(what, remedy=remedy, code="other_settings")


def _nothing(folder: Path, result: Indexed) -> RagError:
    why = [f"{name} {refused.message}" for name, refused in result.refused.items()]
    what = f"{folder} holds no document that can be read. {' '.join(why)}".strip()
    remedy = "Name a folder with text, Markdown, HTML, PDF, DOCX, CSV or source code."
    return RagError(what, remedy=remedy, code="no_documents")


def _count(result: Indexed, *, before: dict[str, Stored], after: dict[str, Stored]) -> None:
    old, new = ({s.source for s in each.values()} for each in (before, after))
    result.documents = len(after)
    result.added = len(new - old)
    result.removed = len(old - new)
    fresh = {after[key].source for key in after.keys() - before.keys()}
    result.changed = len(fresh & old)


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
