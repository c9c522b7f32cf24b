"""How near are two answers in meaning, by the embedding model that the similarity check has?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.evaluate.checks.similarity import is_latin
from tunesmith.evaluate.consistency.agreement import Meaning

if TYPE_CHECKING:
    from tunesmith.models.embedder import Embedder


def meaning_by(embedder: "Embedder", texts: Sequence[str], *, only_latin: bool) -> Meaning:
    """Cosines of any two of these texts, which are embedded at once.

    Raises ValueError, when asked, for a text in letters that the model does not know: the
    cosine of two such texts says nothing.
    """
    known = sorted({text for text in texts if not only_latin or is_latin(text)})
    vectors = dict(zip(known, embedder.embed(known), strict=True))

    def meaning(a: str, b: str) -> float:
        if a not in vectors or b not in vectors:
            raise ValueError("the embedding model does not read these letters")
        return float(vectors[a] @ vectors[b])

    return meaning
