"""Do the answers still differ from each other as the data's own do?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.text import bare, fold, words

SWAPS = 2000
GRAMS = (1, 2)


@dataclass(frozen=True, slots=True)
class Diversity:
    """Distinct answers, and distinct-1 and distinct-2 (Li et al. 2016, arXiv 1510.03055): shares
    of different words and word pairs among all, of the answers and of the data's own to the same
    questions. ``p``: how often so large a loss of distinct answers comes by chance.
    """

    questions: int
    distinct: int
    own_distinct: int
    grams: tuple[float, ...]
    own_grams: tuple[float, ...]
    commonest: float  # share of the answer that is given most often
    own_commonest: float
    p: float

    @property
    def kept(self) -> float:
        """Distinct answers as a share of the data's own."""
        return self.distinct / self.own_distinct

    def to_json(self) -> dict[str, object]:
        """The document's part."""
        own = [self.own_distinct, self.own_commonest, *self.own_grams]
        tuned = [self.distinct, self.commonest, *self.grams]
        names = ("distinct", "commonest_share", *(f"distinct_{n}" for n in GRAMS))
        return {
            "questions": self.questions,
            "tuned": dict(zip(names, tuned, strict=True)),
            "own": dict(zip(names, own, strict=True)),
            "p": self.p,
        }


def diversity_of(
    answers: Sequence[str], references: Sequence[str], *, seed: int, swaps: int = SWAPS
) -> Diversity:
    """Of answers and the data's own to the same questions; raises ValueError without any.

    ``p`` is of a permutation test: where answers were as diverse as references, it would not
    matter which of the two belongs to which side (Fisher 1935), question by question.
    """
    if not answers:
        raise ValueError("no answers: diversity needs some")
    tuned, own = ([bare(fold(text)) for text in side] for side in (answers, references))
    if len(tuned) != len(own):
        raise ValueError("answers and references are of different numbers")
    return Diversity(
        len(tuned),
        len(set(tuned)),
        len(set(own)),
        tuple(distinct_grams(tuned, n) for n in GRAMS),
        tuple(distinct_grams(own, n) for n in GRAMS),
        _commonest(tuned),
        _commonest(own),
        _chance(tuned, own, np.random.default_rng(seed), swaps),
    )


def distinct_grams(texts: Sequence[str], n: int) -> float:
    """Different runs of n words as a share of all of them; 0 where there are none."""
    runs = [
        tuple(each[i : i + n])
        for each in map(words, map(bare, map(fold, texts)))
        for i in range(len(each) - n + 1)
    ]
    return len(set(runs)) / len(runs) if runs else 0.0


def _commonest(texts: Sequence[str]) -> float:
    return max(texts.count(text) for text in set(texts)) / len(texts)


def _chance(
    tuned: Sequence[str], own: Sequence[str], rng: np.random.Generator, swaps: int
) -> float:
    """One-sided p of distinct(own) - distinct(tuned) among random swaps, the real one included."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys([*tuned, *own]))}
    a, b = (np.array([numbers[text] for text in side]) for side in (tuned, own))
    lost = len(set(own)) - len(set(tuned))
    hits = 0
    for _ in range(swaps):
        swapped: NDArray[np.bool_] = rng.random(len(a)) < 0.5
        first, second = np.where(swapped, b, a), np.where(swapped, a, b)
        hits += len(np.unique(second)) - len(np.unique(first)) >= lost
    return (hits + 1) / (swaps + 1)
