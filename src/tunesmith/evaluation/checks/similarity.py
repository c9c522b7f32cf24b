"""bleu, chrf, rouge, similarity: how near is the answer to the reference, by words or meaning?"""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.checks import SimilaritySettings
from tunesmith.config.checks_reference import BleuSettings, ChrfSettings, RougeSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
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


def bleu_check(settings: BleuSettings) -> Check:
    """Sentence BLEU as 0..1 (smoothed, of the orders that a short answer has) for each row.

    The mean of rows is not corpus BLEU: that is a figure besides, with sacrebleu's signature.
    """
    metrics = _sacrebleu(settings.kind)
    kept = {"tokenize": settings.tokenize, "lowercase": settings.lowercase}
    return _ngrams("BLEU", metrics.BLEU(**kept, effective_order=True), metrics.BLEU(**kept))


def chrf_check(settings: ChrfSettings) -> Check:
    """chrF of each row as 0..1; that of all rows, with sacrebleu's signature, is a figure."""
    metrics = _sacrebleu(settings.kind)
    metric = metrics.CHRF(word_order=settings.word_order, lowercase=settings.lowercase)
    return _ngrams("chrF", metric, metric)


def _ngrams(name: str, of_row: Any, of_all: Any) -> Check:
    """A check by two metrics of sacrebleu: of one row, and of all rows together."""

    def score(case: Case) -> float:
        return min(1.0, float(of_row.sentence_score(case.answer, [case.wanted]).score) / 100)

    def figures(cases: Sequence[Case]) -> Figures:
        answers, references = zip(*((c.answer, c.wanted) for c in cases), strict=True)
        return {
            f"corpus_{name.lower()}": float(of_all.corpus_score(answers, [references]).score),
            "signature": f"{name}|{of_all.get_signature().format(short=True)}",
        }

    return Check(rule=score, needs="text", aggregate=figures)


def _sacrebleu(kind: str) -> Any:
    return require("sacrebleu.metrics", "checks", ConfigError, what=f"The check `{kind}`")


def rouge_check(settings: RougeSettings) -> Check:
    """F1 of the measure (Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries).

    Without stemming. On ASCII text the numbers are those of the package rouge-score, which drops
    every other letter; here words are those of any script, or single characters.
    """
    _rapidfuzz()  # missed here, before anything is asked
    tokens = _words if settings.by == "words" else _characters
    measure = MEASURES[settings.measure]

    def score(case: Case) -> float:
        return measure(tokens(case.answer), tokens(case.wanted))

    def fault(case: Case) -> str | None:
        needed = 2 if settings.measure == "rouge2" else 1
        if len(tokens(case.wanted)) < needed:
            unit = {"words": "word", "characters": "letter or digit"}[settings.by]
            return f"the reference has fewer than {needed} {unit}s, which {settings.measure} counts"
        return None

    def figures(cases: Sequence[Case]) -> Figures:
        pairs = [(tokens(case.answer), tokens(case.wanted)) for case in cases]
        return {
            name: sum(of(given, wanted) for given, wanted in pairs) / len(pairs)
            for name, of in MEASURES.items()
        }

    return Check(rule=score, needs="reference", fault=fault, aggregate=figures)


def _words(text: str) -> list[str]:
    """Letters and digits that follow each other, with their marks: vowels, in many scripts."""
    composed = unicodedata.normalize("NFC", text).lower()
    runs = itertools.groupby(composed, lambda c: c.isalnum() or unicodedata.category(c)[0] == "M")
    return ["".join(run) for is_word, run in runs if is_word]


def _characters(text: str) -> list[str]:
    return [letter for word in _words(text) for letter in word]


def _f1(shared: int, given: int, wanted: int) -> float:
    return 2 * shared / (given + wanted) if shared else 0.0


def _shared_words(given: Sequence[str], wanted: Sequence[str]) -> float:
    shared = (Counter(given) & Counter(wanted)).total()
    return _f1(shared, len(given), len(wanted))


def _shared_pairs(given: Sequence[str], wanted: Sequence[str]) -> float:
    a, b = Counter(itertools.pairwise(given)), Counter(itertools.pairwise(wanted))
    return _f1((a & b).total(), a.total(), b.total())


def _rapidfuzz() -> ModuleType:
    return require("rapidfuzz.distance", "checks", ConfigError, what="The check `rouge`")


def _common_subsequence(given: Sequence[str], wanted: Sequence[str]) -> float:
    return _f1(_rapidfuzz().LCSseq.similarity(given, wanted), len(given), len(wanted))


MEASURES: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "rouge1": _shared_words,
    "rouge2": _shared_pairs,
    "rougeL": _common_subsequence,
}
