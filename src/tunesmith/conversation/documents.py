"""A store of documents with the embedding model of its name: a folder indexed, passages found.

No language model is loaded, and the embedding model only where something is embedded.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tunesmith.core.errors import RagError, UsageError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.evaluation.checks.similarity import is_latin
from tunesmith.models.embedder import E5, MINILM, load_embedder, reads_only_latin
from tunesmith.retrieval.confidence import SCORED_HITS, confidence, known_threshold
from tunesmith.retrieval.document import ChunkConfig
from tunesmith.retrieval.index import Indexed, IndexedFolder, index
from tunesmith.retrieval.read import Reading
from tunesmith.retrieval.retrieve import (
    Hit,
    SearchOptions,
    require_passages,
    retrieve,
    with_neighbours,
)
from tunesmith.retrieval.store import EmbeddingModel, PassageStore, open_store, require_same

DEFAULT_EMBEDDING = MINILM.name


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The embedding model's name or folder, how documents are cut, and how they are read."""

    embedding: str = DEFAULT_EMBEDDING
    chunk_config: ChunkConfig = field(default_factory=ChunkConfig)
    reading: Reading = field(default_factory=Reading)


def index_folder(
    folder: Path,
    store: str,
    settings: IndexSettings | None = None,
    *,
    progress: Progress = SILENT,
) -> Indexed:
    """Make ``store`` hold what ``folder`` holds; the model is loaded where something is new.

    Raises RagError, and ModelError for a model that cannot be had.
    """
    settings = settings or IndexSettings()
    is_folder = Path(settings.embedding).is_dir()  # found again from wherever the store is asked
    name = str(Path(settings.embedding).absolute()) if is_folder else settings.embedding
    load = partial(_load, name, settings.chunk_config.tokens, progress)
    source = IndexedFolder(folder, name, load, settings.chunk_config)
    return index(source, store, progress=progress, reading=settings.reading)


def _load(name: str, tokens: int, progress: Progress) -> EmbeddingModel:
    """Raises RagError where the model would read only the beginning of such passages."""
    embedder = load_embedder(name, progress=progress)
    if tokens > embedder.longest:
        raise RagError(
            f"{name} reads {pluralize(embedder.longest, 'token')}: the rest of a passage "
            f"of {tokens:,} would not be searched by meaning.",
            remedy=f"Give --chunk-tokens below {embedder.longest:,}, with room for headings.",
            code="cutting",
        )
    return embedder


def open_documents(uri: str, *, progress: Progress = SILENT) -> tuple[PassageStore, EmbeddingModel]:
    """A store and the embedding model that it was made with; raises RagError without either."""
    store = open_store(uri)
    embedder = load_embedder(store.settings.embedding, progress=progress)
    require_same(embedder, store.settings)
    return store, embedder


@dataclass(frozen=True, slots=True)
class FindSettings:
    """How passages are found.

    Below ``threshold`` (a confidence; None: the one known for the store's model) they are too
    little to answer from. ``neighbours`` chunks before and after each passage are shown with it.
    """

    search: SearchOptions = field(default_factory=SearchOptions)
    threshold: float | None = None
    neighbours: int = 0


@dataclass(frozen=True, slots=True)
class FoundPassages:
    """What the store has for a question, neighbours included; ``refused`` where that is too little.

    ``threshold`` is what the confidence was held against; None where no threshold is known.
    ``advice`` is for whoever asks a model that does not read the question's language.
    """

    question: str
    hits: list[Hit]
    passages: list[tuple[str, str]]
    confidence: float | None
    refused: bool
    threshold: float | None = None
    advice: str = ""

    @property
    def why(self) -> str:
        """What decided whether the model is asked: `confidence 0.41, threshold 0.50`."""
        if not self.hits:
            return "no passage was found"
        known = (("confidence", self.confidence), ("threshold", self.threshold))
        parts = (f"{name} {'unknown' if n is None else f'{n:.2f}'}" for name, n in known)
        return ", ".join(parts)


class Documents:
    """An open store with the embedding model that it was made with."""

    def __init__(
        self,
        uri: str,
        settings: FindSettings | None = None,
        *,
        progress: Progress = SILENT,
    ) -> None:
        self._store, self._embedder = open_documents(uri, progress=progress)
        self.settings = settings or FindSettings()
        self.threshold = self.settings.threshold
        if self.threshold is None:
            self.threshold = known_threshold(self.embedding)

    @property
    def embedder(self) -> EmbeddingModel:
        """The model that its passages and questions are embedded with."""
        return self._embedder

    @property
    def embedding(self) -> str:
        """The embedding model's name, or its folder."""
        return self._store.settings.embedding

    def refresh(self) -> None:
        """Find what an index has written since the store was opened."""
        self._store.refresh()

    def find(self, question: str) -> FoundPassages:
        """Passages for a question, best first.

        Raises UsageError for an empty question, RagError where no passage meets the filter.
        """
        if not question.strip():
            raise UsageError("The question is empty.", remedy="Ask something.")
        search, count = self.settings.search, self.settings.neighbours
        require_passages(self._store, search.where)
        wider = replace(search, limit=max(search.limit, SCORED_HITS))
        found = retrieve(self._store, self._embedder, question, wider)
        sure, hits = confidence(question, found), found[: search.limit]
        hits = [replace(h, passage=with_neighbours(self._store, h.passage, count)) for h in hits]
        unsure = sure is not None and self.threshold is not None and sure < self.threshold
        return FoundPassages(
            question=question,
            hits=hits,
            passages=[(hit.passage.place, hit.passage.text) for hit in hits],
            confidence=sure,
            refused=unsure or not hits,
            threshold=self.threshold,
            advice=self._advice(question),
        )

    def _advice(self, question: str) -> str:
        """What to do where the store's model cannot read the question; empty where it can."""
        name = self.embedding
        if self.settings.search.mode == "text" or is_latin(question) or not reads_only_latin(name):
            return ""
        return f"{name} reads English: for other languages, index with --embedding {E5.name}."
