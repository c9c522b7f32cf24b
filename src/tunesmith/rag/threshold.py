"""From which score on do the documents say something about a question?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.errors import RagError

MOST_FALSE_REFUSALS = 0.1
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
    most_false_refusals: float = MOST_FALSE_REFUSALS,
    decimals: int | None = None,
) -> Threshold:
    """The highest threshold that refuses at most this share of questions with an answer.

    With ``decimals`` the highest of so many: rounded up, what is shown would refuse more.

    Both are confidences (`confidence.py`), with the right passage in the store and without it.
    Raises RagError where either is empty.
    """
    if not len(answerable) or not len(unanswerable):
        raise RagError(
            "A threshold needs questions with an answer and questions without one.",
            remedy="Give both.",
        )
    scores = np.sort(np.asarray(answerable, dtype=np.float64))
    score = float(scores[int(most_false_refusals * len(scores))])
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
