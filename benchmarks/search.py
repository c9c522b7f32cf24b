"""Is the best of 16 settings found in less than half of the time that all 16 take?

    python -m benchmarks.search --data DIR --out DIR [--task classification] [--rows N] [--steps N]

Trains every point of a grid of four rates and four ranks to its end (`ts.compare`), then searches
the same points (`ts.search`). Both choose by one half of the held-out rows, and are judged by the
other, which neither saw. Prints a JSON line: the score of the grid's best on the judged rows with
its interval (chosen there, so the best that could be found), that of the grid's choice, that of the
search, and the seconds of both.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.methods.tasks import TASKS, write

RATES = (3e-4, 7e-4, 1.7e-3, 3.9e-3)  # from a fifth of lora's `auto` to three times it
RANKS = (4, 8, 16, 32)
GRID: Mapping[str, Sequence[object]] = {"train.lr": list(RATES), "method.rank": list(RANKS)}
UNTOLD = {"forgetting": "none", "consistency": "none", "knowledge": "none", "timed_rows": 0}
POINT, SHARE = 0.01, 0.4  # what is asked for


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows and runs")
    parser.add_argument("--task", choices=TASKS, default="classification")
    parser.add_argument("--rows", type=int, help="training rows, the task's own number if left out")
    parser.add_argument("--steps", type=int, help="steps of a run, by the rows if left out")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    task = TASKS[given.task]
    task = replace(task, train_rows=given.rows or task.train_rows)
    rows, held = write(task, given.data, given.out / "rows")
    limits = {"rows": task.held_rows, "max_new_tokens": task.max_new_tokens, "num_fewshot": 0}
    length = {"steps": given.steps} if given.steps else {}
    common: dict[str, Any] = {
        "eval": str(held),
        "checks": [task.check],
        "settings": {
            "data": {"validation": 0.5},
            "train": {"threads": given.threads, **length},
            "evaluate": {**limits, **UNTOLD},
        },
    }
    start = time.monotonic()
    grid = ts.compare(
        str(rows), methods=["lora"], grid=GRID, out=given.out / "grid", progress=False, **common
    ).to_json()
    grid_seconds, start = time.monotonic() - start, time.monotonic()
    found = ts.search(
        str(rows),
        minutes=10 * grid_seconds / 60,
        over=GRID,
        at_most=len(RATES) * len(RANKS),
        out=given.out / "search",
        progress=False,
        **common,
    ).to_json()
    seconds = time.monotonic() - start
    print(json.dumps(compared(grid, found, grid_seconds=grid_seconds, seconds=seconds)))


def compared(
    grid: Mapping[str, Any], found: Mapping[str, Any], *, grid_seconds: float, seconds: float
) -> dict[str, object]:
    """Both results, and whether the search found what was asked for."""
    best = max(grid["runs"], key=lambda row: row["score"])
    chosen = min(grid["runs"], key=lambda row: row["eval_loss"])
    score = found["score"]["score"]
    steps = sum(row["steps"] for row in found["settings"])
    return {
        "grid_best": {key: best[key] for key in ("name", "score", "low", "high")},
        "grid_choice": {key: chosen[key] for key in ("name", "score", "eval_loss")},
        "search": {"best": found["best"], **found["score"]},
        "values": next(r["values"] for r in found["settings"] if r["name"] == found["best"]),
        "is_as_good": score >= min(best["score"] - POINT, best["low"]),
        "grid_seconds": grid_seconds,
        "search_seconds": seconds,
        "share_of_time": seconds / grid_seconds,
        "share_of_steps": steps / (found["steps"] * len(grid["runs"])),
        "is_fast": seconds <= SHARE * grid_seconds,
    }


if __name__ == "__main__":
    main()
