"""How surprised is each arm by plain text? Perplexity by token, word and byte, as in lm-eval."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.counts import many
from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.forgetting.findings import Measured
from tunesmith.evaluate.forgetting.spans import Reader, Span
from tunesmith.evaluate.graded import wider_limits
from tunesmith.evaluate.interval import Interval
from tunesmith.evaluate.rows_needed import rows_needed

ENOUGH_SPANS = 20  # fewer are cut into blocks, which count as rows instead
BLOCK_TOKENS = 64
LARGEST = 700.0  # a logarithm of a perplexity beyond which nothing is told
Logs = NDArray[np.float32]  # log-likelihoods of a span's scored tokens, in nats


@dataclass(frozen=True, slots=True)
class PlainText:
    """A probe of texts, each read by itself."""

    name: str
    texts: tuple[str, ...]

    def spans(self, reader: Reader) -> tuple[Span, ...]:
        """What is scored: every token of every text once."""
        return tuple(span for spans in reader.texts(self.texts) for span in spans)

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> Measured:
        """Both arms compared, from the log-likelihoods of the same spans.

        The difference is a ratio, tuned over base less 1. Its interval counts spans as rows, or
        blocks of tokens where there are few. Raises ValueError for less than two blocks.
        """
        rises = _rises(_rows_of(base), _rows_of(tuned))
        before, after = self.perplexities(base), self.perplexities(tuned)

        def difference(level: float) -> Interval:
            low, high = _limits(rises, seed=seed, level=level)
            mean = float(np.mean(rises))
            return Interval(_exp(mean) - 1, _exp(low) - 1, _exp(high) - 1, len(rises))

        return Measured(
            self.name,
            "perplexity",
            base=before["perplexity"],
            tuned=after["perplexity"],
            difference=difference,
            rows_needed=lambda limit, error: rows_needed(
                rises, error=error, against=math.log1p(limit)
            ),
            details={
                key: {"base": before[key], "tuned": after[key]}
                for key in before
                if key != "perplexity"
            },
        )

    def perplexities(self, logs: Sequence[Logs]) -> Mapping[str, float]:
        """An arm's perplexity by token, word and byte, and its bits per byte."""
        total = -sum(float(each.sum(dtype=np.float64)) for each in logs)
        units = {
            "perplexity": sum(len(each) for each in logs),
            "word_perplexity": sum(len(re.split(r"\s+", text)) for text in self.texts),
            "byte_perplexity": sum(len(text.encode("utf-8")) for text in self.texts),
        }
        found = {key: _exp(total / count) for key, count in units.items()}
        return {**found, "bits_per_byte": math.log2(found["byte_perplexity"])}


def _rows_of(logs: Sequence[Logs]) -> list[Logs]:
    """Spans, or blocks of their tokens where there are few spans."""
    if len(logs) >= ENOUGH_SPANS:
        return list(logs)
    return [
        each[start : start + BLOCK_TOKENS]
        for each in logs
        for start in range(0, len(each), BLOCK_TOKENS)
    ]


def _rises(base: Sequence[Logs], tuned: Sequence[Logs]) -> list[float]:
    """Values whose mean is the rise of the log-perplexity and whose spread is that of the rows.

    A ratio of sums is not the mean of the rows' ratios; these are its linear parts.
    """
    lengths = np.array([len(each) for each in base], dtype=np.float64)
    rises = np.array(
        [float((b - t).sum(dtype=np.float64)) for b, t in zip(base, tuned, strict=True)]
    )
    if len(rises) < 2:
        raise ValueError(f"one block of {many(int(lengths.sum()), 'token')} has no interval")
    rise = rises.sum() / lengths.sum()
    values: list[float] = (rise + (rises - rise * lengths) / lengths.mean()).tolist()
    return values


def _limits(values: Sequence[float], *, seed: int, level: float) -> tuple[float, float]:
    """Limits of the mean; of values that are all equal nothing is known to differ."""
    if all(value == values[0] for value in values):
        return values[0], values[0]
    return wider_limits(values, seed=seed, level=level, resamples=RESAMPLES)


def _exp(value: float) -> float:
    """e to the value, or the largest that is a number."""
    return math.exp(min(value, LARGEST))
