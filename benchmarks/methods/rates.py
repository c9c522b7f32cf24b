"""The learning rate of `auto` beside a grid of rates: scores and held-out losses.

    python -m benchmarks.methods.rates benchmarks/methods/results/{rates,runs}.jsonl

Runs of one task, method and number of steps are a grid. The rates of its first seed are told; where
rates were tried again with other seeds, how much their scores differ from those of `auto` there, as
the best of many noisy scores is partly luck. What was run at one rate alone is no grid. The last
table asks which single rate would serve all tasks.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.methods.measure import read_results
from benchmarks.methods.table import Run
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.intervals import paired_difference
from tunesmith.methods import table

WIDTH = 576  # of the default model
Grids = dict[tuple[str, str, int], list[Run]]  # of a task, a method's name, a number of steps


def main() -> None:
    """A line for each grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    given = parser.parse_args()
    grids: Grids = defaultdict(list)
    for run in (run for path in given.results for run in read_results(path)):
        if run["error"] is None:
            name = run["name"].partition("-lr-")[0]
            if run["lr"] == "auto":
                run["lr"] = table.learning_rate(run["method"], WIDTH)
            grids[run["task"], name, run["steps"]].append(run)
    several = {key: runs for key, runs in grids.items() if len({run["lr"] for run in runs}) > 1}
    print("\n".join([*lines_of(several), "", *one_for_all(several)]))


def lines_of(grids: Grids) -> Iterator[str]:
    """Each grid, and what was tried again."""
    yield "| task, steps | method | rate: score in % (held-out loss) | best loss |"
    yield "|---|---|---|---|"
    for (task, name, steps), runs in grids.items():
        auto, first = auto_of(runs), first_seed(runs)
        best = min(first, key=lambda run: float(run["eval_loss"]))
        cells = ", ".join(cell(run, auto) for run in first)
        yield f"| {task}, {steps} | {name} | {cells} | {best['lr']:g} |"
        for line in again([run for run in runs if run["seed"] != runs[0]["seed"]], auto):
            yield f"|  |  | {line} |  |"


def one_for_all(grids: Grids) -> Iterator[str]:
    """For each method how far each rate's held-out loss is above the best of its task, in nats.

    Means over the tasks whose grids have the whole list of rates.
    """
    yield "| method | tasks | rate: nats above each task's best rate, mean (worst) |"
    yield "|---|---|---|"
    for name in dict.fromkeys(name for _, name, _ in grids):
        own = [first_seed(runs) for (_, other, _), runs in grids.items() if other == name]
        whole = [grid for grid in own if len(grid) == max(map(len, own))]
        above: dict[float, list[float]] = defaultdict(list)
        for grid in whole:
            best = min(run["eval_loss"] for run in grid)
            for run in grid:
                above[run["lr"]].append(run["eval_loss"] - best)
        auto = auto_of(whole[0])
        cells = [
            bold(f"{rate:g}: {statistics.mean(each):.2f} ({max(each):.2f})", rate, auto)
            for rate, each in above.items()
        ]
        yield f"| {name} | {len(whole)} | {', '.join(cells)} |"


def first_seed(runs: Sequence[Run]) -> list[Run]:
    """A run for each rate, of the first seed, the smallest rate first."""
    own = {run["lr"]: run for run in runs if run["seed"] == runs[0]["seed"]}
    return [own[rate] for rate in sorted(own)]


def auto_of(runs: Sequence[Run]) -> float:
    """The rate of `auto` for the method of these runs."""
    return float(table.learning_rate(runs[0]["method"], WIDTH))


def cell(run: Run, auto: float) -> str:
    """`0.002: 85 (0.12)`, in bold where it is the rate of `auto`."""
    score = statistics.mean(run["scores"][TUNED])
    return bold(f"{run['lr']:g}: {100 * score:.0f} ({run['eval_loss']:.2f})", run["lr"], auto)


def bold(text: str, rate: float, auto: float) -> str:
    """The text, in bold where it tells of `auto`."""
    return f"**{text}**" if rate == auto else text


def again(runs: Sequence[Run], auto: float) -> Iterator[str]:
    """What each rate that was tried again with other seeds has over `auto` there."""
    seeds: dict[float, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        seeds[run["lr"]][run["seed"]] = run
    for rate, by_seed in seeds.items():
        both = [seed for seed in by_seed if seed in seeds[auto]]
        if rate == auto or not both:
            continue
        scores, known = (
            [score for seed in both for score in seeds[at][seed]["scores"][TUNED]]
            for at in (rate, auto)
        )
        losses = statistics.mean(
            by_seed[seed]["eval_loss"] - seeds[auto][seed]["eval_loss"] for seed in both
        )
        gain = paired_difference(scores, known, seed=0)
        low, mean, high = (100 * each for each in (gain.low, gain.mean, gain.high))
        seeds_told = f"seed{'s' * (len(both) > 1)} {', '.join(map(str, both))}"
        yield (
            f"{seeds_told}: {rate:g} has {mean:+.1f} points "
            f"({low:+.1f} to {high:+.1f}) over `auto`, loss {losses:+.3f}"
        )


if __name__ == "__main__":
    main()
