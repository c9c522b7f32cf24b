"""How far is the tuned arm from the best of the others, where rows chose which one that is?

The best of several arms looks better than it is: its luck is part of why it was chosen. So
- the lower limit is the least of all arms' own. Tuned is above the best only if it is above each,
  and a claim that needs every one of several tests needs no correction (Berger 1982,
  Technometrics 24:295).
- the upper limit is the least of those of arms that may be the best, each at its part of the
  error (Bonferroni). An arm that is clearly below another has no part in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.interval import LEVEL, Interval, differences_of, paired_difference
from tunesmith.evaluate.rows_needed import rows_needed

SCREENING = 0.1  # part of the upper limit's error that is spent on leaving arms out

RowScores = Sequence[float]
Compare = Callable[..., Interval]


@dataclass(frozen=True, slots=True)
class Gain:
    """Tuned minus the best other arm, and the arm that scored best on these rows.

    ``rows_needed`` would tell it from none; None where these do, or no practical number would.
    """

    against: str
    difference: Interval
    rows_needed: int | None

    @property
    def sign(self) -> int:
        """1 where the whole interval lies above 0, -1 where it lies at or below, else 0."""
        return 1 if self.difference.low > 0 else -1 if self.difference.high <= 0 else 0


def gain_over_best(
    tuned: RowScores,
    others: Mapping[str, RowScores],
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Gain:
    """Compare with the best of ``others``, scores within 0..1 of the same rows in the same order.

    Of arms with the same mean the first counts as the best. Raises ValueError without others, or
    for scores that are none.
    """
    if not others:
        raise ValueError("nothing to compare with: there is no other arm")
    compare = partial(paired_difference, seed=seed, resamples=resamples)
    error = (1 - level) / 2
    plain = {arm: compare(tuned, rows, level=level) for arm, rows in others.items()}
    best = min(plain, key=lambda arm: plain[arm].mean)
    rivals, share = _rivals(best, others, compare, error=error)
    highs = [compare(tuned, others[arm], level=1 - 2 * share).high for arm in rivals]
    difference = Interval(
        plain[best].mean,
        low=min(each.low for each in plain.values()),
        high=min(highs) if len(others) > 1 else plain[best].high,
        n=plain[best].n,
    )
    needed = None
    if difference.mean > 0 >= difference.low:
        needed = _most([_rows(tuned, rows, error=error) for rows in others.values()])
    elif difference.mean < 0 < difference.high:
        needed = _rows(tuned, others[best], error=share)
    return Gain(best, difference, needed)


def _rivals(
    best: str, others: Mapping[str, RowScores], compare: Compare, *, error: float
) -> tuple[list[str], float]:
    """Arms that may be the best one, and each one's part of the error."""
    if len(others) == 1:
        return [best], error
    spent = SCREENING * error
    level = 1 - 2 * spent / (len(others) - 1)
    rivals = [
        arm
        for arm, rows in others.items()
        if arm == best or compare(others[best], rows, level=level).low <= 0
    ]
    return rivals, (error - spent) / len(rivals)


def _rows(tuned: RowScores, other: RowScores, *, error: float) -> int | None:
    return rows_needed(differences_of(tuned, other), error=error)


def _most(rows: Sequence[int | None]) -> int | None:
    """The largest number, as all must tell; None where one of them never would."""
    known = [each for each in rows if each is not None]
    return max(known) if len(known) == len(rows) else None
