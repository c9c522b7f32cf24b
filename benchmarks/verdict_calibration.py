"""How often is the verdict wrong? Simulated evaluations whose truth is known.

Rows of an arm are 0/1 or graded (beta-distributed) scores; scores of one row hang together by a
normal factor, so that two arms that pass half the rows correlate as `--correlation` says.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from tunesmith.evaluation import intervals
from tunesmith.evaluation.comparison import TUNED, rows_needed, summarize
from tunesmith.evaluation.intervals import LEVEL
from tunesmith.evaluation.verdict import Verdict, decide

Means = Mapping[str, float]  # by arm
RESAMPLES = 2000  # of graded scores' bootstrap: a simulation needs no third digit


@dataclass(frozen=True, slots=True)
class Scenario:
    """An evaluation whose truth is known, and how often it may or must end with an answer."""

    name: str
    rows: int
    checks: tuple[Means, ...]
    answer: str  # what is counted: yes, no, cannot-tell, or rose (yes, or any other check rose)
    bound: float
    at_most: bool
    graded: float | None = None  # the beta distribution's a + b; None: 0 or 1

    def scores(
        self, rng: np.random.Generator, correlation: float
    ) -> dict[str, dict[str, list[float]]]:
        """One evaluation's scores: check -> arm -> rows."""
        shared = math.sin(math.pi * correlation / 2)  # of normal scores behind the 0/1 ones
        factor = rng.standard_normal(self.rows) * math.sqrt(shared)
        own = math.sqrt(1 - shared)
        return {
            f"check {number}": {
                arm: self._values(factor + own * rng.standard_normal(self.rows), mean).tolist()
                for arm, mean in means.items()
            }
            for number, means in enumerate(self.checks)
        }

    def _values(self, normal: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
        if self.graded is None:
            return np.asarray(normal < ndtri(mean), dtype=float)
        a, b = mean * self.graded, (1 - mean) * self.graded
        return np.asarray(np.round(beta.ppf(ndtr(normal), a, b), 4))

    def counted(self, verdict: Verdict) -> bool:
        """Whether the verdict is what this scenario counts."""
        rose = verdict.answer == "yes" or 1 in verdict.summary.changed.values()
        return rose if self.answer == "rose" else verdict.answer == self.answer


def two(base: float, tuned: float) -> Means:
    """The base and the tuned arm."""
    return {"base": base, TUNED: tuned}


def four(others: float | tuple[float, float, float], tuned: float) -> Means:
    """All four arms; the others alike where one mean is given."""
    means = (others, others, others) if isinstance(others, float) else others
    return {**dict(zip(("base", "prompted", "examples"), means, strict=True)), TUNED: tuned}


def scenarios() -> Iterator[Scenario]:
    """What the table has."""
    yield Scenario("no difference", 400, (two(0.5, 0.5),), "yes", 0.05, True)
    yield Scenario("no difference", 400, (two(0.5, 0.5),), "no", 0.05, True)
    yield Scenario("+10 points", 400, (two(0.5, 0.6),), "yes", 0.85, False)
    yield Scenario("-10 points", 400, (two(0.5, 0.4),), "no", 0.85, False)
    yield Scenario("3 checks, no difference", 400, (two(0.5, 0.5),) * 3, "rose", 0.05, True)
    yield Scenario(
        "3 checks, 1st +10, others none", 400, (two(0.5, 0.6), *((two(0.5, 0.5),) * 2)), "no", 0.05,
        True,
    )  # fmt: skip
    yield Scenario("4 equal arms", 400, (four(0.5, 0.5),), "yes", 0.05, True)
    yield Scenario("4 equal arms", 400, (four(0.5, 0.5),), "no", 0.05, True)
    yield Scenario("4 arms, others lower", 400, (four((0.1, 0.5, 0.3), 0.5),), "yes", 0.05, True)
    yield Scenario("4 arms, others lower", 400, (four((0.1, 0.5, 0.3), 0.5),), "no", 0.05, True)
    yield Scenario("4 arms, others near", 400, (four((0.44, 0.5, 0.47), 0.5),), "no", 0.05, True)
    yield Scenario("4 arms, +10 points", 400, (four(0.5, 0.6),), "yes", 0.8, False)
    for rows in (20, 40, 60, 400):
        for mean in (0.02, 0.5, 0.98):
            name = f"no difference, {mean:.0%} pass"
            yield Scenario(name, rows, (two(mean, mean),), "yes", 0.05, True)
    for rows in (20, 40, 60, 400):
        for mean, spread in ((0.02, 5.0), (0.3, 4.0), (0.97, 8.0)):
            name = f"graded, no difference, mean {mean:.0%}"
            yield Scenario(name, rows, (two(mean, mean),), "yes", 0.05, True, spread)
    yield Scenario("graded, +5 points", 400, (two(0.3, 0.35),), "yes", 0.85, False, 4.0)


def share(scenario: Scenario, *, repeats: int, correlation: float, seed: int) -> float:
    """How often simulated evaluations end as the scenario counts."""
    hits = 0
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        scores = scenario.scores(rng, correlation)
        summary = summarize(scores, seed=repeat)
        hits += scenario.counted(decide(summary))
    return hits / repeats


def allowed(scenario: Scenario, repeats: int) -> float:
    """The bound with two standard errors of the simulation itself."""
    error = 2 * math.sqrt(scenario.bound * (1 - scenario.bound) / repeats)
    return scenario.bound + (error if scenario.at_most else -error)


def holds(scenario: Scenario, found: float, repeats: int) -> bool:
    """Whether what was found is within what is allowed."""
    limit = allowed(scenario, repeats)
    return found <= limit if scenario.at_most else found >= limit


@dataclass(frozen=True, slots=True)
class Pilot:
    """What a few rows showed: how many gained and lost, of how many."""

    gained: int
    lost: int
    rows: int

    def differences(self) -> list[float]:
        """Tuned minus base, row by row."""
        return [1.0] * self.gained + [-1.0] * self.lost + [0.0] * self._same

    @property
    def _same(self) -> int:
        return self.rows - self.gained - self.lost

    def told(self, rows: int, rng: np.random.Generator) -> bool:
        """Whether so many new rows of the same kind bring an answer, yes or no."""
        shares = np.array([self.gained, self.lost, self._same]) / self.rows
        gained, lost, _ = rng.multinomial(rows, shares)
        tuned = [1.0] * gained + [0.0] * (rows - gained)
        base = [0.0] * gained + [1.0] * lost + [0.0] * (rows - gained - lost)
        answer = decide(summarize({"check": {TUNED: tuned, "base": base}}, seed=0)).answer
        return answer != "cannot-tell"


PILOTS = (Pilot(6, 2, 40), Pilot(8, 4, 40), Pilot(2, 6, 40), Pilot(3, 1, 20), Pilot(30, 20, 200))


def told_share(pilot: Pilot, *, repeats: int, seed: int) -> tuple[int, float]:
    """The number of rows that is named for a pilot, and how often as many new ones tell."""
    wanted = rows_needed(pilot.differences(), error=(1 - LEVEL) / 2)
    assert wanted is not None
    rngs = (np.random.default_rng([seed, repeat]) for repeat in range(repeats))
    return wanted, sum(pilot.told(wanted, rng) for rng in rngs) / repeats


def main() -> None:
    """Print two tables: wrong answers, and whether the rows that are named would tell."""
    intervals.RESAMPLES = RESAMPLES
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--correlation", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    given = parser.parse_args()
    counts: Counter[bool] = Counter()
    print("| truth | rows | counted | found | asked for | holds |\n|---|---|---|---|---|---|")
    for scenario in scenarios():
        if given.only not in scenario.name:
            continue
        found = share(
            scenario, repeats=given.repeats, correlation=given.correlation, seed=given.seed
        )
        good = holds(scenario, found, given.repeats)
        counts[good] += 1
        sign = "at most" if scenario.at_most else "at least"
        print(
            f"| {scenario.name} | {scenario.rows} | {scenario.answer} | {found:.1%} "
            f"| {sign} {scenario.bound:.0%} | {'yes' if good else '**no**'} |",
            flush=True,
        )
    print(f"{counts[True]} of {counts.total()} hold, {given.repeats} repeats each")
    print("\n| rows seen | gained | lost | rows named | they tell |\n|---|---|---|---|---|")
    for pilot in PILOTS:
        wanted, told = told_share(pilot, repeats=given.repeats, seed=given.seed)
        print(f"| {pilot.rows} | {pilot.gained} | {pilot.lost} | {wanted} | {told:.1%} |")


if __name__ == "__main__":
    main()
