"""similarity: how near does the answer come to the reference in meaning, by their embeddings?"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.checks import SimilaritySettings
from tunesmith.evaluation.checks.check import CannotScore, Case, Check, Figures

if TYPE_CHECKING:
    from tunesmith.models.embedder import Embedder

Vector = NDArray[np.float32]  # [D], of length 1
LATIN_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Meanings:
    """Vectors of the texts that were asked for, each embedded once.

    ``only_latin``: what the model makes of other letters says nothing, so it has no vector.
    """

    embedder: "Embedder"
    only_latin: bool = False
    vectors: dict[str, Vector] = field(default_factory=dict)

    def reads(self, text: str) -> bool:
        """Whether the model knows the letters of a text."""
        return not self.only_latin or is_latin(text)

    def embed(self, texts: Iterable[str]) -> None:
        """Embed what is new and can be read, in batches."""
        new = sorted(text for text in set(texts) - self.vectors.keys() if self.reads(text))
        if new:
            self.vectors.update(zip(new, self.embedder.embed(new), strict=True))

    def cosine(self, a: str, b: str) -> float:
        """Of two texts; raises CannotScore for one that the model cannot read."""
        self.embed((a, b))
        if a not in self.vectors or b not in self.vectors:
            raise CannotScore("the embedding model does not read these letters")
        return float(self.vectors[a] @ self.vectors[b])


def load_meanings(model: str, load: "Callable[[str], Embedder] | None" = None) -> Meanings:
    """Of an embedding model by its name or folder; raises ModelError where it cannot be had."""
    from tunesmith.models.embedder import load_embedder, reads_only_latin

    return Meanings((load or load_embedder)(model), reads_only_latin(model))


def similarity_check(
    settings: SimilaritySettings, *, load: "Callable[[str], Embedder] | None" = None
) -> Check:
    """The cosine of answer and reference, 0 where it is below.

    How near any two answers of this data come is a figure beside it: answers against the
    references of other rows. Raises ModelError where the model cannot be had.
    """
    meanings = load_meanings(settings.model, load)

    def prepare(cases: Sequence[Case]) -> None:
        meanings.embed(text for case in cases for text in (case.answer, case.reference) if text)

    def score(case: Case) -> float:
        if not meanings.reads(case.answer):
            raise CannotScore(f"{settings.model} reads English, and the answer is in other letters")
        return min(1.0, max(0.0, meanings.cosine(case.answer, case.wanted)))

    def fault(case: Case) -> str | None:
        if meanings.reads(case.wanted):
            return None
        return (
            f"{settings.model} reads English, and the reference is in other letters; "
            "name a folder with a multilingual embedding model under `model`"
        )

    figures = partial(_figures, meanings)
    return Check(rule=score, needs="text", fault=fault, aggregate=figures, prepare=prepare)


def _figures(meanings: Meanings, cases: Sequence[Case]) -> Figures:
    """How near answers come to references of other rows, and how many were too long."""
    others = [*cases[1:], cases[0]]
    unrelated = [
        meanings.cosine(a.answer, b.reference)
        for a, b in zip(cases, others, strict=True)
        if a.answer.strip() and b.reference and a.reference != b.reference
    ]
    mean = sum(unrelated) / len(unrelated) if unrelated else None
    cut = sum(meanings.embedder.is_cut(case.answer) for case in cases)
    return {"to_other_references": mean, "cut_answers": cut}


def is_latin(text: str) -> bool:
    """Whether most letters are Latin; a text without letters is."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(letter < "\u0250" for letter in letters)
    return latin >= LATIN_SHARE * len(letters)
