"""Which of several runs is the best, which are not clearly worse, and what choosing it flatters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.findings import Described, points_text, share_text
from tunesmith.evaluation.intervals import LEVEL, Interval, paired_difference

SPLITS = 2000  # random halves of the rows
Scores = Mapping[str, Sequence[float]]  # of runs by name, each on the same rows in the same order


@dataclass(frozen=True, slots=True)
class Selection(Described):
    """The run with the highest score among several on the same rows.

    ``optimism``: by how much its score is expected to exceed the one on other rows, as it was
    chosen by these. ``ahead``: by how much it is ahead of each other run, with limits that hold for
    all of them together.
    """

    best: str
    score: float
    rows: int
    optimism: float
    ahead: Mapping[str, Interval]

    @property
    def near(self) -> list[str]:
        """The runs that are not clearly worse."""
        return [name for name, each in self.ahead.items() if each.low <= 0]

    def describe(self, words: Phrases) -> str:
        """The best, if one is, what its score is worth, and what else comes into question."""
        if not any(each.mean for each in self.ahead.values()):
            runs, score = len(self.ahead) + 1, share_text(self.score, words)
            return words.phrase("selection.tied", runs=runs, score=score, rows=f"{self.rows:,}")
        key = "flattered" if round(100 * self.optimism) else "best"
        said = words.phrase(
            f"selection.{key}",
            run=self.best,
            score=share_text(self.score, words),
            runs=len(self.ahead) + 1,
            rows=f"{self.rows:,}",
            points=points_text(self.optimism, words).lstrip("+"),
            expected=share_text(self.score - self.optimism, words),
        )
        others = "all" if len(self.near) == len(self.ahead) else "some" if self.near else "none"
        return f"{said} {words.phrase(f'selection.{others}', list=', '.join(self.near))}"

    def values(self) -> Mapping[str, object]:
        """A comparison's `best`."""
        return {
            "run": self.best,
            "score": self.score,
            "rows": self.rows,
            "optimism": self.optimism,
            "ahead": {name: each.to_json("difference") for name, each in self.ahead.items()},
            "not_clearly_worse": self.near,
        }


def select(scores: Scores, *, seed: int = 0) -> Selection:
    """The run with the highest mean; of equal ones the first.

    Raises ValueError for fewer than two runs, fewer than two rows, or scores outside 0..1.
    """
    names = list(scores)
    values = np.array([scores[name] for name in names], dtype=np.float64)  # [runs, rows]
    if len(names) < 2 or values.shape[1] < 2:
        raise ValueError(f"a choice needs two runs and two rows, not {values.shape}")
    means = values.mean(axis=1)
    best = names[int(means.argmax())]
    level = 1 - (1 - LEVEL) / (len(names) - 1)  # Bonferroni
    return Selection(
        best,
        score=float(means.max()),
        rows=values.shape[1],
        optimism=optimism(values, seed=seed),
        ahead={
            name: paired_difference(scores[best], scores[name], seed=seed, level=level)
            for name in names
            if name != best
        },
    )


def optimism(scores: np.ndarray, *, seed: int) -> float:
    """By how much the best of several runs is flattered by the rows that chose it; 0 or more.

    ``scores``: [runs, rows]. The best on a random half of the rows, minus the same run on the other
    half, is what choosing by half of them flatters; of all rows it is the root of 2 less, as errors
    of means are. Too much by up to 0.6 of it where runs truly differ, too little by at most 0.15
    where they are equal (tests/studies/test_selection.py; docs/verdict.md has real runs).
    """
    rows = scores.shape[1]
    rng, half = np.random.default_rng(seed), rows // 2
    chosen = np.argsort(rng.random((SPLITS, rows)), axis=1) < half  # [splits, rows]
    sums = scores @ chosen.T  # [runs, splits]
    here, there = sums / half, (scores.sum(axis=1, keepdims=True) - sums) / (rows - half)
    is_best = here >= here.max(axis=0) - 1e-12
    gaps = ((here - there) * is_best).sum(axis=0) / is_best.sum(axis=0)
    return max(0.0, float(gaps.mean()) / 2**0.5)
