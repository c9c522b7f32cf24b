"""The learning rate of `auto` beside a grid of rates: scores and held-out losses.

    python -m benchmarks.methods.rates benchmarks/methods/results/{rates,runs}.jsonl

Runs of one task, method and number of steps are a grid. The rates of its first seed are told; where
rates were tried again with other seeds, how much their scores differ from those of `auto` there, as
the best of many noisy scores is partly luck. What was run at one rate alone is no grid.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.methods.measure import read_results
from benchmarks.methods.table import Run
from tunesmith.evaluate.interval import paired_difference
from tunesmith.evaluate.summary import TUNED
from tunesmith.methods import table

WIDTH = 576  # of the default model


def main() -> None:
    """A line for each grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    given = parser.parse_args()
    grids: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
    for run in (run for path in given.results for run in read_results(path)):
        if run["error"] is None:
            name = run["name"].partition("-lr-")[0]
            if run["lr"] == "auto":
                run["lr"] = table.learning_rate(run["method"], WIDTH)
            grids[run["task"], name, run["steps"]].append(run)
    print("| task, steps | method | rate: score in % (held-out loss) | best loss |")
    print("|---|---|---|---|")
    for (task, name, steps), runs in grids.items():
        if len({run["lr"] for run in runs}) == 1:
            continue
        first = list({run["lr"]: run for run in runs if run["seed"] == runs[0]["seed"]}.values())
        auto = table.learning_rate(first[0]["method"], WIDTH)
        best = min(first, key=lambda run: float(run["eval_loss"]))
        cells = ", ".join(cell(run, auto) for run in sorted(first, key=lambda run: run["lr"]))
        print(f"| {task}, {steps} | {name} | {cells} | {best['lr']:g} |")
        for line in again([run for run in runs if run["seed"] != runs[0]["seed"]], auto):
            print(f"|  |  | {line} |  |")


def cell(run: Run, auto: float) -> str:
    """`0.002: 85 (0.12)`, in bold where it is the rate of `auto`."""
    score = statistics.mean(run["scores"][TUNED])
    text = f"{run['lr']:g}: {100 * score:.0f} ({run['eval_loss']:.2f})"
    return f"**{text}**" if run["lr"] == auto else text


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
