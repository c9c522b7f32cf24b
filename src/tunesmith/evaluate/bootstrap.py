"""How sure is the mean of any values? The bias-corrected and accelerated bootstrap."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK_VALUES = 1 << 20


def bootstrap_limits(
    values: Sequence[float], *, seed: int, level: float, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """BCa limits of the mean (Efron & Tibshirani 1993, An Introduction to the Bootstrap, 14.3).

    Too narrow for a handful of values, and without width where all are equal, which says nothing
    about rows not seen: callers that know the range of a value handle that case.
    Raises ValueError for fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"a bootstrap needs at least two values, not {len(values)}")
    rows = np.asarray(values, dtype=np.float64)  # [n]
    means = _resampled_means(rows, resamples, seed=seed)  # [resamples], sorted
    low, high = (_bca_level(means, rows, probability=p) for p in ((1 - level) / 2, (1 + level) / 2))
    quantiles = np.quantile(means, [low, high])
    return float(quantiles[0]), float(quantiles[1])


def _resampled_means(
    rows: NDArray[np.float64], resamples: int, *, seed: int
) -> NDArray[np.float64]:
    """Sorted means of ``resamples`` draws with replacement, made in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    n = rows.size
    chunk = max(1, CHUNK_VALUES // n)
    means = [
        rows[rng.integers(0, n, size=(min(chunk, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, chunk)
    ]
    return np.sort(np.concatenate(means))


def _bca_level(
    means: NDArray[np.float64], rows: NDArray[np.float64], *, probability: float
) -> float:
    """The quantile of the resampled means to read for ``probability``: equations 14.10, 14.14-15.

    Resampled means that equal the mean count half, as they do in sums of few distinct values.
    """
    normal = NormalDist()
    mean = rows.mean()
    below = (np.searchsorted(means, mean, "left") + np.searchsorted(means, mean, "right")) / 2
    share = float(np.clip(below, 0.5, means.size - 0.5)) / means.size
    bias = normal.inv_cdf(share)
    spread = rows - mean  # n - 1 times what leaving one row out changes
    variance = float((spread**2).sum())
    acceleration = float((spread**3).sum()) / (6 * variance**1.5) if variance > 0 else 0.0
    shifted = bias + normal.inv_cdf(probability)
    return normal.cdf(bias + shifted / (1 - acceleration * shifted))
