"""Evidence of good and bad runs for tests: a good one, and what each fault changes of it."""

import numpy as np

from tunesmith.evaluation.intervals import Interval
from tunesmith.evaluation.overfitting_evidence import Curves, Evidence, Labels, Rate, Warned
from tunesmith.evaluation.overfitting_measures import LossGap


def interval(low, high=None):
    high = low if high is None else high
    return Interval((low + high) / 2, low, high, 100)


def gap(train, held, low=None, high=None, *, change=-5.0):
    low = held - train if low is None else low
    return LossGap(train, held, interval(low, high), interval(change), interval(change))


def falling(start, end, steps=60, *, rng=None, noise=0.1):
    """Losses that fall fast and then stay, with the noise of small batches."""
    curve = end + (start - end) * np.exp(-np.arange(steps) / (steps / 12))
    return (curve * np.exp(rng.normal(0, noise, steps) if rng else 0)).tolist()


def good(**changes):
    values = {
        "curves": Curves(falling(8.0, 0.05), [(20, 0.2), (40, 0.1), (60, 0.11)]),
        "passes": 3.0,
        "rows": 400,
        "rate": Rate(1.3e-3, 1.3e-3),
        "gap": gap(0.05, 0.11),
        "labels": Labels(10, 0.6),
        "rank": 16,
        "used": 0.6,
    }
    return Evidence(**{**values, **changes})


def contradictions(share=0.3, *, low=0.2, choices=True, loss_share=0.9):
    above = None if low is None else interval(low, low + 0.3)
    warned = Warned("contradictions", 120, share, above, loss_share, choices)
    return {"contradictions": warned}
