"""A share of the rows; the rows of a smaller share are among those of a larger one."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def part_of(rows: Sequence[Item], *, share: float, seed: int) -> list[Item]:
    """At least one of the rows, in their order; which ones depends on their number and the seed."""
    count = max(1, round(share * len(rows))) if len(rows) else 0
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[i] for i in sorted(chosen.tolist())]
