"""rouge: how much of the reference's words does the answer share, as F1 of ROUGE-1, 2 or L?"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from rapidfuzz.distance import LCSseq

from tunesmith.config.checks import RougeSettings
from tunesmith.evaluate.checks.protocol import Case, Check, Figures
from tunesmith.evaluate.checks.text import missing_reference

WORD = re.compile(r"[^\W_]+")


def rouge_check(settings: RougeSettings) -> Check:
    """F1 of the measure (Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries).

    Without stemming. On ASCII text the numbers are those of the package rouge-score, which drops
    every other letter; here words are those of any script, or single characters.
    """
    tokens = _words if settings.by == "words" else _characters
    measure = MEASURES[settings.measure]

    def score(case: Case) -> float:
        return measure(tokens(case.answer), tokens(case.reference or ""))

    def fault(case: Case) -> str | None:
        if case.reference is None:
            return missing_reference(case)
        needed = 2 if settings.measure == "rouge2" else 1
        if len(tokens(case.reference)) < needed:
            unit = {"words": "word", "characters": "letter or digit"}[settings.by]
            return f"the reference has fewer than {needed} {unit}s, which {settings.measure} counts"
        return None

    def figures(cases: Sequence[Case]) -> Figures:
        pairs = [(tokens(case.answer), tokens(case.reference or "")) for case in cases]
        return {
            name: sum(of(given, wanted) for given, wanted in pairs) / len(pairs)
            for name, of in MEASURES.items()
        }

    return Check(name=settings.name or settings.kind, rule=score, fault=fault, aggregate=figures)


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


def _common_subsequence(given: Sequence[str], wanted: Sequence[str]) -> float:
    return _f1(LCSseq.similarity(given, wanted), len(given), len(wanted))


MEASURES: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "rouge1": _shared_words,
    "rouge2": _shared_pairs,
    "rougeL": _common_subsequence,
}
