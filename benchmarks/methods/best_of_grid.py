"""The defaults against the best setting of a grid of step sizes and passes.

For each method, number of rows and task: both are the mean of the seeds of the defaults at which
most settings of the grid were measured, and of those settings. The best setting is chosen by the
scores that it is compared by, so that the comparison favours it.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.methods.measure import tuned_score, words
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.intervals import Interval, paired_difference

Lines = Mapping[int, Mapping[str, Any]]  # of a setting, by seed
POINTS, LONGER = 0.02, 1.3  # how far below the best, and how many times as long, is still as good
GRID = {"train.rows_per_step", "train.epochs"}


@dataclass(frozen=True, slots=True)
class Against:
    """The defaults, `auto`, and the best setting of the grid, at the same seeds."""

    group: tuple[str, int, str]  # method, rows, task
    seeds: tuple[int, ...]
    settings: int
    best: str
    score: float
    best_score: float
    difference: Interval  # of the held-out rows' mean scores over the seeds, auto - best
    tokens: float  # trained by auto, over those of the best
    seconds: float | None  # to its last step, with held-out losses and answers, over the best's

    @property
    def faults(self) -> list[str]:
        """Whether it is below the best, by over two points and beyond chance, or takes longer."""
        below = self.difference.mean < -POINTS and self.difference.high < 0
        return ["below"] * below + ["longer"] * (self.tokens > LONGER)


def against(lines: Sequence[Mapping[str, Any]]) -> list[Against]:
    """Every group of runs in which a grid and the defaults were measured."""
    groups: dict[tuple[str, int, str], dict[str, dict[int, Mapping[str, Any]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for line in lines:
        of_grid = line["point"].keys() == GRID
        if line["error"] is None and (of_grid or not line["point"]):
            group = groups[line["name"], line["rows"], line["task"]]
            group[words(line["point"])][line["seed"]] = line
    found = [_against(group, dict(settings)) for group, settings in sorted(groups.items())]
    return [each for each in found if each is not None]


def _against(group: tuple[str, int, str], settings: dict[str, Lines]) -> Against | None:
    auto = settings.pop("", {})
    most = max((len(auto.keys() & lines) for lines in settings.values()), default=0)
    settings = {n: lines for n, lines in settings.items() if len(auto.keys() & lines) == most}
    seeds = tuple(sorted(set(auto).intersection(*settings.values())))
    if len(settings) < 2 or not seeds:
        return None
    best = max(settings, key=lambda name: _mean(settings[name], seeds))
    ours, theirs = (_rows(lines, seeds) for lines in (auto, settings[best]))
    tokens = [sum(lines[seed]["tokens"] for seed in seeds) for lines in (auto, settings[best])]
    return Against(
        group,
        seeds,
        settings=len(settings),
        best=best,
        score=statistics.mean(ours),
        best_score=statistics.mean(theirs),
        difference=paired_difference(ours, theirs, seed=0),
        tokens=tokens[0] / tokens[1],
        seconds=_time(auto, settings[best], seeds),
    )


def _time(ours: Lines, theirs: Lines, seeds: Sequence[int]) -> float | None:
    """Over the seeds at which both were timed, which runs that train together are not."""
    pairs = [(ours[seed].get("seconds"), theirs[seed].get("seconds")) for seed in seeds]
    known = [(mine, best) for mine, best in pairs if mine is not None and best is not None]
    return sum(mine for mine, _ in known) / sum(best for _, best in known) if known else None


def _mean(lines: Lines, seeds: Sequence[int]) -> float:
    return statistics.mean(tuned_score(lines[seed]) for seed in seeds)


def _rows(lines: Lines, seeds: Sequence[int]) -> list[float]:
    """Each held-out row's mean score over the seeds."""
    scores = [lines[seed]["scores"][TUNED] for seed in seeds]
    return [statistics.mean(row) for row in zip(*scores, strict=True)]


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The comparisons as a table, scores in %."""
    names = ("method", "rows", "task", "seeds", "auto", "best of the grid", "difference (95 %)")
    out = [f"| {' | '.join((*names, 'tokens', 'time'))} |", "|---|---|---|---|---|---|---|---|---|"]
    for each in against(lines):
        name, rows, task = each.group
        low, high = (f"{100 * limit:+.1f}" for limit in (each.difference.low, each.difference.high))
        cells = (
            f"{name} | {rows} | {task} | {', '.join(map(str, each.seeds))}",
            f"{100 * each.score:.1f}",
            f"{100 * each.best_score:.1f} ({each.best.replace('train.', '')}; of {each.settings})",
            f"{100 * each.difference.mean:+.1f} ({low} to {high})",
            " ".join([f"{each.tokens:.2f}", *(f"**{fault}**" for fault in each.faults)]),
            "" if each.seconds is None else f"{each.seconds:.2f}",
        )
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)
