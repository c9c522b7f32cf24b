"""similarity: how near does the answer come to the reference in meaning, by their embeddings?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.checks import SimilaritySettings
from tunesmith.evaluation.checks.check import CannotScore, Case, Check, Figures, blank_reference

if TYPE_CHECKING:
    from tunesmith.models.embedder import Embedder

Vector = NDArray[np.float32]  # [D], of length 1
LATIN_SHARE = 0.7


def similarity_check(
    settings: SimilaritySettings, *, load: "Callable[[str], Embedder] | None" = None
) -> Check:
    """The cosine of answer and reference, 0 where it is below.

    How near any two answers of this data come is a figure beside it: answers against the
    references of other rows. Raises ModelError where the model cannot be had.
    """
    from tunesmith.models.embedder import load_embedder, reads_only_latin

    embedder = (load or load_embedder)(settings.model)
    meanings = _Meanings(settings.model, embedder, reads_only_latin(settings.model))
    return Check(
        name=settings.name or settings.kind,
        rule=meanings.score,
        fault=meanings.fault,
        aggregate=meanings.figures,
        prepare=meanings.prepare,
    )


@dataclass(frozen=True, slots=True)
class _Meanings:
    """An embedding model, and the vectors of the texts that it has seen."""

    model: str
    embedder: "Embedder"
    only_latin: bool
    vectors: dict[str, Vector] = field(default_factory=dict)

    def prepare(self, cases: Sequence[Case]) -> None:
        """Embed what is new, in batches."""
        texts = {text for case in cases for text in (case.answer, case.reference) if text}
        new = sorted(texts - self.vectors.keys())
        self.vectors.update(zip(new, self.embedder.embed(new), strict=True))

    def score(self, case: Case) -> float:
        """The cosine; raises CannotScore for an answer that the model cannot read."""
        if case.reference is None or not case.reference.strip():
            return 0.0
        if self.only_latin and not is_latin(case.answer):
            raise CannotScore(f"{self.model} reads English, and the answer is in other letters")
        return min(1.0, max(0.0, self._cosine(case.answer, case.reference)))

    def fault(self, case: Case) -> str | None:
        """A fault where the reference is missing, empty, or one that the model cannot read."""
        if (missing := blank_reference(case)) is not None:
            return missing
        if self.only_latin and not is_latin(case.reference or ""):
            return (
                f"{self.model} reads English, and the reference is in other letters; "
                "name a folder with a multilingual embedding model under `model`"
            )
        return None

    def figures(self, cases: Sequence[Case]) -> Figures:
        """How near answers come to references of other rows, and how many were too long."""
        others = [*cases[1:], cases[0]]
        unrelated = [
            self._cosine(a.answer, b.reference)
            for a, b in zip(cases, others, strict=True)
            if a.answer.strip() and b.reference and a.reference != b.reference
        ]
        mean = sum(unrelated) / len(unrelated) if unrelated else None
        cut = sum(self.embedder.is_cut(case.answer) for case in cases)
        return {"to_other_references": mean, "cut_answers": cut}

    def _cosine(self, a: str, b: str) -> float:
        return float(self._vector(a) @ self._vector(b))

    def _vector(self, text: str) -> Vector:
        if text not in self.vectors:
            self.vectors[text] = self.embedder.embed([text])[0]
        return self.vectors[text]


def is_latin(text: str) -> bool:
    """Whether most letters are Latin; a text without letters is."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(letter < "\u0250" for letter in letters)
    return latin >= LATIN_SHARE * len(letters)
