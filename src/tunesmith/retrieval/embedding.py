"""What is asked of an embedding model, and whether it is the one that a store was made with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tunesmith.core.errors import RagError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.retrieval.store import StoreSettings

PROBE = "The quick brown fox jumps over the lazy dog."
PROBED = 8  # numbers of it that are kept
TOLERANCE = 0.01  # another processor rounds otherwise


class EmbeddingModel(Protocol):
    """An embedding model, in a folder that also has its tokenizer.json."""

    @property
    def folder(self) -> Path: ...

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> "NDArray[np.float32]":
        """[n, D], each row of length 1; some models read questions otherwise than documents."""
        ...


def probe(embedder: EmbeddingModel) -> tuple[int, tuple[float, ...]]:
    """The model's width, and how its vector of a known text begins."""
    vector = embedder.embed([PROBE])[0]
    return len(vector), tuple(round(float(number), 4) for number in vector[:PROBED])


def require_same(embedder: EmbeddingModel, settings: "StoreSettings") -> None:
    """Raise RagError where the model gives other vectors than those in the store."""
    width, found = probe(embedder)
    near = all(abs(a - b) <= TOLERANCE for a, b in zip(found, settings.probe, strict=True))
    if width != settings.width or not near:
        raise RagError(
            f"{embedder.folder} is not the model that the store was made with "
            f"({settings.embedding}).",
            remedy="Name that model, or index the folder into another store.",
            code="other_model",
        )
