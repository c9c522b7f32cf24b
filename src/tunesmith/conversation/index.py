"""A folder of documents indexed with an embedding model by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tunesmith.core.errors import RagError
from tunesmith.core.numbers import many
from tunesmith.models.cache import Emit, ignore
from tunesmith.retrieval.chunk import Cutting
from tunesmith.retrieval.embedding import Embedder
from tunesmith.retrieval.index import Indexed, Progress, Source, index
from tunesmith.retrieval.reading import Reading

DEFAULT_EMBEDDING = "all-minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The embedding model's name or folder, how documents are cut, and how they are read."""

    embedding: str = DEFAULT_EMBEDDING
    cutting: Cutting = field(default_factory=Cutting)
    reading: Reading = field(default_factory=Reading)


def index_folder(
    folder: Path,
    store: str,
    settings: IndexSettings | None = None,
    *,
    emit: Callable[[Progress], object] = lambda _: None,
    tell: Emit = ignore,
) -> Indexed:
    """Make ``store`` hold what ``folder`` holds; the model is loaded where something is new.

    Raises RagError, and ModelError for a model that cannot be had.
    """
    settings = settings or IndexSettings()
    is_folder = Path(settings.embedding).is_dir()  # found again from wherever the store is asked
    name = str(Path(settings.embedding).absolute()) if is_folder else settings.embedding
    load = partial(_load, name, settings.cutting.tokens, tell)
    source = Source(folder, name, load, settings.cutting)
    return index(source, store, emit=emit, reading=settings.reading)


def _load(name: str, tokens: int, tell: Emit) -> Embedder:
    """Raises RagError where the model would read only the beginning of such passages."""
    from tunesmith.models.embedder import load_embedder  # seconds, and most often nothing is new

    embedder = load_embedder(name, emit=tell)
    if tokens > embedder.longest:
        raise RagError(
            f"{name} reads {many(embedder.longest, 'token')}: what stands behind them in a passage "
            f"of {tokens:,} would not be searched by meaning.",
            remedy=f"Give --chunk-tokens below {embedder.longest:,}, with room for headings.",
            code="cutting",
        )
    return embedder
