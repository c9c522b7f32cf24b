"""Step sizes, passes and learning rates on small and larger sets of the five tasks.

    python -m benchmarks.methods.step_sizes --data DIR --work DIR [--method lora] [--tasks tone]
        [--rows 30 60 120 500] [--seeds 0] [--grid train.rows_per_step=4,8,16 train.epochs=3,10]
        [--threads 1]

Runs are made by `ts.compare`, all settings of a task, a number of rows and a seed together; what is
not in the grid is the product's default. Each run becomes a line of RESULTS, and one that is there
is not made again. Only the last weights are evaluated, so that a setting is seen as it is.
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.methods.measure import UNTOLD, read_results, scores_of
from benchmarks.methods.tasks import TASKS, Task, write
from tunesmith.evaluation.comparison import TUNED
from tunesmith.studies.variants import read_grid

RESULTS = Path(__file__).parent / "results" / "step_sizes.jsonl"
FIVE = ("classification", "sentiment", "english-reviews", "tone", "summary")
HELD_ROWS, ANSWERED_ROWS = 200, {"summary": 50}
AT_THE_END = 1_000_000  # steps between held-out losses and checkpoints: after the last step alone
GRID = {
    30: {"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 10, 20, 40]},
    60: {"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 10, 20]},
    120: {"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 6, 12]},
    500: {"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 6]},
}
Grid = Mapping[str, Sequence[object]]
Key = tuple[object, ...]


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for rows and runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=FIVE)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--rows", nargs="+", type=int, default=list(GRID))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--grid", nargs="+", help="KEY=VALUE,VALUE; a grid for each size if left")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for seed, rows, name in product(given.seeds, given.rows, given.tasks):
        grid = read_grid(given.grid) if given.grid else GRID[rows]
        _measure(name, rows, seed, grid, given)


def _measure(name: str, rows: int, seed: int, grid: Grid, given: argparse.Namespace) -> None:
    """One comparison: the runs of a grid on the first rows of a task that are not known."""
    task, start = TASKS[name], time.monotonic()
    known = {key_of(run) for run in read_results(given.results)}
    values = given.method, name, rows, seed
    if known.issuperset((*values, _words(point)) for point in _points(grid)):
        return
    folder = given.work / f"{name}-{rows}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    train, held = write(replace(task, train_rows=rows, held_rows=HELD_ROWS), given.data, folder)
    found = ts.compare(
        str(train),
        methods=[given.method],
        grid=grid,
        eval=str(held),
        checks=[task.check],
        seed=seed,
        settings={
            "evaluate": {
                **UNTOLD,
                "rows": ANSWERED_ROWS.get(name, task.held_rows),
                "max_new_tokens": task.max_new_tokens,
            },
            "train": {
                "threads": given.threads,
                "save_steps": AT_THE_END,
                "evaluate_steps": AT_THE_END,
            },
        },
        out=folder / "runs",
        progress=False,
    )
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with given.results.open("a", encoding="utf-8") as file:
        for run, point in zip(found.runs.values(), _points(grid), strict=True):
            place = {"method": given.method, "task": name, "rows": rows, "seed": seed}
            line = {**place, "point": point, **_found(task, run)}
            if key_of(line) not in known:
                file.write(json.dumps(line) + "\n")
    print(f"{name} {rows} {seed}: {time.monotonic() - start:.0f} seconds", flush=True)
    shutil.rmtree(folder)


def _points(grid: Grid) -> Iterator[dict[str, object]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _words(point: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(point.items()))


def key_of(line: Mapping[str, Any]) -> Key:
    """What a run was: the method, the rows and the point of the grid."""
    return *(line[key] for key in ("method", "task", "rows", "seed")), _words(line["point"])


def _found(task: Task, run: ts.Run) -> dict[str, object]:
    """What is kept of a run; the score of each held-out row is 0 or 1, of summaries ROUGE-L."""
    scores = scores_of(task, run.folder)[TUNED]
    values = run.summary
    return {
        "steps": values.steps,
        "tokens": values.tokens,
        "train_loss": values.train_loss,
        "eval_loss": values.eval_loss,
        "score": statistics.mean(scores),
        "scores": [round(score, 3) for score in scores],
    }


if __name__ == "__main__":
    main()
