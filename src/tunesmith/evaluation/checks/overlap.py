"""bleu, chrf, rouge: how many n-grams or words do answer and reference share?"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any

from tunesmith.config.checks_reference import BleuSettings, ChrfSettings, RougeSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
from tunesmith.evaluation.checks.check import (
    Case,
    Check,
    Figures,
)


def bleu_check(settings: BleuSettings) -> Check:
    """Sentence BLEU as 0..1 (smoothed, of the orders that a short answer has) for each row.

    The mean of rows is no corpus BLEU: that stands beside it, with sacrebleu's signature.
    """
    metrics = _sacrebleu(settings.kind)
    kept = {"tokenize": settings.tokenize, "lowercase": settings.lowercase}
    return _ngrams("BLEU", metrics.BLEU(**kept, effective_order=True), metrics.BLEU(**kept))


def chrf_check(settings: ChrfSettings) -> Check:
    """chrF of each row as 0..1; chrF of all rows together, with sacrebleu's signature, beside."""
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


WORD = re.compile(r"[^\W_]+")


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
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def _characters(text: str) -> list[str]:
    return [letter for word in _words(text) for letter in word]


def _f1(shared: int, given: int, wanted: int) -> float:
    return 2 * shared / (given + wanted) if shared else 0.0


def _shared_words(given: Sequence[str], wanted: Sequence[str]) -> float:
    shared = (Counter(given) & Counter(wanted)).total()
    return _f1(shared, len(given), len(wanted))


def _shared_pairs(given: Sequence[str], wanted: Sequence[str]) -> float:
    a, b = Counter(pairwise(given)), Counter(pairwise(wanted))
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
