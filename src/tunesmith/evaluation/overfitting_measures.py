"""How do answers and losses differ between trained rows and others: gap, copies, diversity?"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.text import bare, count_words, fold, words
from tunesmith.evaluation.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    unbounded_interval,
)

Losses = Sequence[float]  # of rows, nats per supervised token


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Each row's loss under the base and under the tuned model; the base's may be missing."""

    tuned: Losses
    base: Losses | None = None

    @property
    def change(self) -> list[float] | None:
        """Tuned minus base, row by row."""
        if self.base is None:
            return None
        return [a - b for a, b in zip(self.tuned, self.base, strict=True)]


@dataclass(frozen=True, slots=True)
class LossGap:
    """Mean losses of training and held-out rows under the tuned model, and held-out minus training.

    ``changes`` are tuned minus base of either kind, row by row; None without a base. The gap of the
    base is not subtracted: its losses differ so much from row to row (9 nats and 4 more or less
    for labels that it does not know) that the rest would show nothing.
    """

    train_loss: float
    held_out_loss: float
    gap: Interval
    train_change: Interval | None = None
    held_out_change: Interval | None = None


def gap_of(train: RowLosses, held: RowLosses, *, seed: int) -> LossGap:
    """From rows of both kinds; raises ValueError for fewer than two rows of either."""
    if min(len(train.tuned), len(held.tuned)) < 2:
        raise ValueError("a gap needs two rows or more of either kind")
    mean_of = partial(unbounded_interval, seed=seed)
    return LossGap(
        statistics.fmean(train.tuned),
        statistics.fmean(held.tuned),
        difference_of_means(train.tuned, held.tuned, seed=seed),
        train_change=mean_of(train.change) if train.change else None,
        held_out_change=mean_of(held.change) if held.change else None,
    )


def difference_of_means(a: Losses, b: Losses, *, seed: int) -> Interval:
    """Mean of b less mean of a, of rows that are no pairs: each mean's half widths add up in
    quadrature (Zou & Donner 2008, Stat. Med. 27:1693), which keeps the skew of either.
    """
    first, second = (unbounded_interval(each, seed=seed) for each in (a, b))
    mean = second.mean - first.mean
    return Interval(
        mean,
        mean - math.hypot(second.mean - second.low, first.high - first.mean),
        mean + math.hypot(second.high - second.mean, first.mean - first.low),
        min(first.n, second.n),
    )


MIN_WORDS = 6
"""Shorter answers are repeated by everyone ("You are welcome"): of songys's replies with up to five
words others of the data have the same, of longer ones hardly any."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Share of answers to held-out questions that are, word by word, an answer of one training
    row; the share of the data's own answers to these questions that are; and the difference.

    Only questions whose answer and reference have `MIN_WORDS` count, and answers that several
    training rows share do not: labels and set phrases are meant to be repeated.
    """

    tuned: Interval
    own: Interval
    excess: Interval


def verbatim_of(
    answers: Sequence[str], references: Sequence[str], trained: Iterable[str], *, seed: int
) -> Verbatim | None:
    """Answers and references of the same held-out questions, and all training answers; None where
    no question counts.
    """
    counts = Counter(bare(fold(text)) for text in trained)
    unique = {text for text, count in counts.items() if count == 1}
    pairs = [(bare(fold(a)), bare(fold(b))) for a, b in zip(answers, references, strict=True)]
    long = [pair for pair in pairs if min(map(count_words, pair)) >= MIN_WORDS]
    if not long:
        return None
    tuned, own = ([float(text in unique) for text in side] for side in zip(*long, strict=True))
    return Verbatim(
        mean_interval(tuned, seed=seed),
        mean_interval(own, seed=seed),
        paired_difference(tuned, own, seed=seed),
    )


SWAPS = 2000


@dataclass(frozen=True, slots=True)
class Variety:
    """Distinct texts, the share of the most frequent one, and distinct-1 and distinct-2 (Li et al.
    2016, arXiv 1510.03055): shares of different words and word pairs among all.
    """

    distinct: int
    commonest_share: float
    distinct_1: float
    distinct_2: float


@dataclass(frozen=True, slots=True)
class Diversity:
    """The variety of the tuned answers and of the data's own to the same questions. ``p``: how
    often so large a loss of distinct answers comes by chance.
    """

    questions: int
    tuned: Variety
    own: Variety
    p: float

    @property
    def kept(self) -> float:
        """Distinct answers as a share of the data's own."""
        return self.tuned.distinct / self.own.distinct


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
    p = _chance(tuned, own, np.random.default_rng(seed), swaps)
    return Diversity(len(tuned), _variety(tuned), _variety(own), p)


def _variety(texts: Sequence[str]) -> Variety:
    most = max(texts.count(text) for text in set(texts))
    return Variety(
        len(set(texts)), most / len(texts), distinct_grams(texts, 1), distinct_grams(texts, 2)
    )


def distinct_grams(texts: Sequence[str], n: int) -> float:
    """Different runs of n words as a share of all of them; 0 where there are none."""
    runs = [
        tuple(each[i : i + n])
        for each in map(words, map(bare, map(fold, texts)))
        for i in range(len(each) - n + 1)
    ]
    return len(set(runs)) / len(runs) if runs else 0.0


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
