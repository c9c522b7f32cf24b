"""From the runs that were measured to a table for each task: methods with intervals, or a grid.

python -m benchmarks.methods.table OUT [--best | --all-tasks]
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.methods.measure import METHODS, read_results
from tunesmith.core.numbers import pluralize
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.intervals import Interval, mean_interval, paired_difference

BASE = "base"
PAIRS = (
    ("lora", "full"),
    ("qlora", "lora"),
    ("p-tuning", "lora"),
    ("prompt-100", "p-tuning"),
    ("prompt-100", "prompt-20"),
)
Run = dict[str, Any]


def main() -> None:
    """Print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--best", action="store_true", help="best first, with learning rates")
    parser.add_argument("--all-tasks", action="store_true", help="one table of all tasks")
    given = parser.parse_args()
    runs = [run for run in read_results(given.out / "runs.jsonl") if run["scores"]]
    if given.all_tasks:
        print(all_tasks(runs))
        return
    for task in dict.fromkeys(run["task"] for run in runs):
        print(table(task, [run for run in runs if run["task"] == task], best=given.best))


def table(task: str, runs: Sequence[Run], *, best: bool) -> str:
    """One task: methods down, score over all held-out rows and seeds with a 95 % interval."""
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[run["name"]].append(run)
    base = runs[0]["scores"][BASE]
    lines = [
        f"### {task}",
        f"Steps {runs[0]['steps']}, {len(base)} held-out rows. Without training: {_text(base)}.",
        "",
        "| run | seeds | score | above the base | held-out loss | lr |",
        "|---|---|---|---|---|---|",
    ]
    rows = sorted(by_name.items(), key=lambda item: -_mean(item[1])) if best else by_name.items()
    for name, each in rows:
        scores = [score for run in each for score in run["scores"][TUNED]]
        bases = [score for run in each for score in run["scores"][BASE]]
        above = paired_difference(scores, bases, seed=0)
        loss = statistics.mean(run["eval_loss"] for run in each)
        lines.append(
            f"| {name} | {len(each)} | {percent(mean_interval(scores, seed=0))} | "
            f"{percent(above, sign='+')} | {loss:.3f} | {each[0]['lr']} |"
        )
    return "\n".join([*lines, "", *_pairs(by_name), ""])


def all_tasks(runs: Sequence[Run]) -> str:
    """Methods down, tasks across: score over seeds and held-out rows with a 95 % interval."""
    tasks = list(dict.fromkeys(run["task"] for run in runs))
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run["name"] in METHODS:
            groups[run["task"], run["name"]].append(run)
    lines = [f"| method | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    bases = [next(run for run in runs if run["task"] == task)["scores"][BASE] for task in tasks]
    lines.append(f"| base, untrained | {' | '.join(map(_text, bases))} |")
    for name in METHODS:
        cells = [_cell(groups[task, name]) for task in tasks]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    scores = [score for run in runs for score in run["scores"][TUNED]]
    each = ", ".join(f"{100 * _mean([run]):.0f}" for run in runs)
    return f"{_text(scores)}; {each}" if len(runs) > 1 else _text(scores)


def _pairs(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """Differences on the same rows and seeds of methods that a reader would choose between.

    The interval takes the rows of all seeds as rows of one run; each seed's own difference says
    whether it may.
    """
    for one, other in PAIRS:
        by_seed = [
            {run["seed"]: run["scores"][TUNED] for run in runs.get(x, ())} for x in (one, other)
        ]
        seeds = sorted(set.intersection(*map(set, by_seed)))
        if seeds:
            mine, theirs = ([score for seed in seeds for score in each[seed]] for each in by_seed)
            found = percent(paired_difference(mine, theirs, seed=0), sign="+")
            means = [[100 * statistics.mean(each[seed]) for seed in seeds] for each in by_seed]
            own = ", ".join(f"{a - b:+.0f}" for a, b in zip(*means, strict=True))
            yield f"{one} - {other}: {found}; {own}, {pluralize(len(seeds), 'seed')}"


def _mean(runs: Sequence[Run]) -> float:
    return float(statistics.mean(score for run in runs for score in run["scores"][TUNED]))


def _text(scores: Sequence[float]) -> str:
    return percent(mean_interval(scores, seed=0))


def percent(interval: Interval, *, sign: str = "") -> str:
    """Points with their 95 % interval."""
    points = (100 * each for each in (interval.mean, interval.low, interval.high))
    mean, low, high = (format(each, f"{sign}.1f") for each in points)
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
