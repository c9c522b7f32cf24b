"""Is the best of several real runs flattered by the rows that chose it, and by what is said?

    python -m benchmarks.methods.optimism [--rows 30 50 100]

Of the settings that `step_sizes` measured on one task's rows, the best on some held-out rows is
chosen; what it scores there beyond its score on the others is set beside what `compare` says of it.
"""

import argparse
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.methods.measure import read_results
from benchmarks.methods.step_sizes import RESULTS
from tunesmith.studies.selection import optimism

DRAWS = 200
MIN_SETTINGS = 6


def main() -> None:
    """Print the mean of both for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", type=int, default=[30, 50, 100])
    given = parser.parse_args()
    groups: dict[tuple[str, int, int], list[Sequence[float]]] = defaultdict(list)
    for line in read_results(RESULTS):
        if line["name"] == "lora" and line.get("scores"):
            groups[line["task"], line["rows"], line["seed"]].append(line["scores"]["tuned"])
    kept = [np.array(runs) for runs in groups.values() if len(runs) >= MIN_SETTINGS]
    for rows in given.rows:
        pairs = [_flattered(runs, rows) for runs in kept if runs.shape[1] >= 2 * rows]
        true, said = (100 * statistics.mean(each) for each in zip(*pairs, strict=True))
        print(f"{rows} rows, {len(pairs)} groups of settings: {true:.1f} points, said {said:.1f}")


def _flattered(runs: np.ndarray, rows: int) -> tuple[float, float]:
    """The mean over draws of what the best has beyond its score on other rows, and what is said."""
    rng, true, said = random.Random(0), [], []
    for _ in range(DRAWS):
        order = rng.sample(range(runs.shape[1]), runs.shape[1])
        here, there = runs[:, order[:rows]], runs[:, order[rows:]].mean(axis=1)
        means = here.mean(axis=1)
        best = rng.choice(np.flatnonzero(means == means.max()))
        true.append(means[best] - there[best])
        said.append(optimism(here, seed=0))
    return statistics.mean(true), statistics.mean(said)


if __name__ == "__main__":
    main()
