"""How likely do passages answer a question, and below which confidence is it refused?"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.core.errors import RagError
from tunesmith.retrieval.passage import terms

if TYPE_CHECKING:
    from tunesmith.retrieval.retrieve import Hit


SCORED_HITS = 5
STEM = 5  # characters of a word that count: endings differ between question and passage
# What questions are made of, whatever they are about.
ENGLISH = """
a about according an and are as at be been by can could did do does for from had has have her his
how in into is it its many me much name not of on or so some tell than that the their them there
these this those to was were what when where which who whom whose why will with would you your
"""
KOREAN = "누가 누구 무엇 무슨 어디 어떤 어떻게 언제 얼마나 왜 어느"
FUNCTION_WORDS = frozenset(f"{ENGLISH} {KOREAN}".split())


def confidence(question: str, hits: Sequence["Hit"]) -> float | None:
    """The mean of the best cosine and the best coverage among the first hits.

    On XQuAD it tells questions with their passage in the store from those without better than
    either alone (docs/rag.md). None where the question was not embedded or nothing was found.
    """
    cosines = [hit.cosine for hit in hits[:SCORED_HITS] if hit.cosine is not None]
    if not cosines:
        return None
    texts = [f"{hit.passage.heading}\n{hit.passage.text}" for hit in hits[:SCORED_HITS]]
    covered = coverage(question, texts)
    return max(cosines) if covered is None else (max(cosines) + covered) / 2


def coverage(question: str, texts: Sequence[str]) -> float | None:
    """The share of the question's words that one of the texts has, long words counting more.

    None for a question without words of its own.
    """
    wanted = _stems(question)
    total = sum(map(len, wanted))
    if not total or not texts:
        return None
    return max(sum(map(len, wanted & _stems(text))) for text in texts) / total


def _stems(text: str) -> frozenset[str]:
    words = re.findall(r"\w+", text.lower())
    own = " ".join(word for word in words if word not in FUNCTION_WORDS)
    return frozenset(word[:STEM] for word in terms(own).split())


MAX_FALSE_REFUSALS = 0.1
# On XQuAD's English questions, by benchmarks/rag_xquad.py.
MEASURED = {"all-minilm-l6-v2": 0.5, "multilingual-e5-small": 0.69}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score below which a question is refused, and the shares that it refuses of each kind."""

    score: float
    false_refusals: float
    refusals: float


def fit_threshold(
    answerable: Sequence[float],
    unanswerable: Sequence[float],
    *,
    max_false_refusals: float = MAX_FALSE_REFUSALS,
    decimals: int | None = None,
) -> Threshold:
    """The highest threshold that refuses at most this share of questions with an answer.

    With ``decimals`` the highest of so many: rounded up, what is shown would refuse more.

    Both are confidences (`confidence.py`), with the right passage in the store and without it.
    Raises RagError where either is empty.
    """
    if not len(answerable) or not len(unanswerable):
        what = "A threshold needs questions with an answer and questions without one."
        raise RagError(what, remedy="Give both.")
    scores = np.sort(np.asarray(answerable, dtype=np.float64))
    score = float(scores[int(max_false_refusals * len(scores))])
    if decimals is not None:
        score = math.floor(score * 10**decimals) / 10**decimals
    return Threshold(
        score=score,
        false_refusals=float(np.mean(scores < score)),
        refusals=float(np.mean(np.asarray(unanswerable) < score)),
    )


def known_threshold(embedding: str) -> float | None:
    """The threshold that was measured for an embedding model of this name; None for others."""
    return MEASURED.get(embedding.lower())
