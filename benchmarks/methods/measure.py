"""Runs of methods and settings on the tasks, by `ts.compare` with the product's defaults.

    python -m benchmarks.methods.measure --data DIR --out DIR [--tasks tone] [--seeds 0 1 2]
        [--methods lora prompt-20 ...] [--grid train.lr=1e-3,1e-2] [--rows 500]

What is not in the grid is a default, step size and passes too. Results are kept a line for each run
in OUT/runs.jsonl, with the score of every held-out row, and a run that is there is not made again;
`benchmarks.methods.table` makes the table of them. Earlier lines have no `rows`: they were runs of
a given number of steps of 8 rows.
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tunesmith as ts
from benchmarks.methods.tasks import FOUR, TASKS, Task, write
from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.comparison import TUNED
from tunesmith.studies.variants import read_grid

MODEL = "smollm2-135m-instruct"
METHODS: dict[str, dict[str, object]] = {
    "prompt-20": {"kind": "prompt", "tokens": 20},
    "prompt-100": {"kind": "prompt", "tokens": 100},
    "p-tuning": {"kind": "p-tuning"},
    "lora": {"kind": "lora"},
    "qlora": {"kind": "qlora"},
    "full": {"kind": "full"},
    "ia3": {"kind": "ia3"},
}
PLACES = ("run", "adapter")  # of this machine
# measures of a run that no table here tells
UNTOLD = {
    "forgetting": "none",
    "consistency": "none",
    "knowledge": "none",
    "num_fewshot": 0,
    "timed_rows": 0,
}
Grid = Mapping[str, Sequence[object]]
Key = tuple[object, ...]


def arguments(
    about: str | None, *, tasks: Sequence[str], methods: Sequence[str], threads: int
) -> argparse.ArgumentParser:
    """What every measurement of methods takes, with these defaults."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path, help="folder for rows and runs")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(tasks))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(methods))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--report", action="store_true", help="print what was measured")
    return parser


def parsed(parser: argparse.ArgumentParser, report: Callable[[], str]) -> argparse.Namespace:
    """What was asked for; where that is the report, it is printed and the program ends."""
    given = parser.parse_args()
    if given.report:
        print(report())
        raise SystemExit(0)
    if given.data is None or given.out is None:
        parser.error("give --data and --out")
    return given


def main() -> None:
    """Measure what is not measured yet."""
    parser = arguments(__doc__, tasks=FOUR, methods=list(METHODS), threads=2)
    parser.add_argument("--grid", nargs="*", default=[], help="KEY=VALUE,VALUE")
    parser.add_argument("--rows", type=int, help="training rows, the task's own number if left out")
    given = parsed(parser, lambda: "`python -m benchmarks.methods.table` makes the table")
    for name, seed in product(given.tasks, given.seeds):
        measure(
            (name, given.rows or TASKS[name].train_rows, seed),
            given.methods,
            read_grid(given.grid),
            given,
            results=given.out / "runs.jsonl",
        )


def measure(
    place: tuple[str, int, int],
    methods: Sequence[str],
    grid: Grid,
    given: argparse.Namespace,
    *,
    results: Path,
    settings: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> None:
    """The runs of a task's name, number of rows and seed that are missing, in one comparison.

    ``settings``: what all of them have beside the defaults and ``UNTOLD``, by section.
    """
    name, count, seed = place
    task, start = TASKS[name], time.monotonic()
    known = {key_of(line) for line in read_results(results)}
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    wanted = [(m, p) for m in methods for p in points if (*place, m, words(p)) not in known]
    if not wanted:
        return
    folder = given.out / "work" / f"{name}-{count}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    rows, held = write(replace(task, train_rows=count), given.data, folder)
    found = ts.compare(
        str(rows),
        methods=[{"name": method, **METHODS[method]} for method in methods],
        grid=grid,
        eval=str(held),
        checks=[task.check],
        seed=seed,
        settings=settings_of(
            task,
            {"threads": given.threads, **settings.get("train", {})},
            settings.get("evaluate", {}),
        ),
        out=folder / "runs",
        progress=False,
    )
    results.parent.mkdir(parents=True, exist_ok=True)
    runs = zip(product(methods, points), found.found.rows, strict=True)
    with results.open("a", encoding="utf-8") as file:
        for (method, point), row in runs:
            if (method, point) in wanted:
                scores = scores_of(task, row.folder.path) if row.error is None else {}
                told = {key: value for key, value in row.to_json().items() if key not in PLACES}
                line = {"task": name, "rows": count, "seed": seed, **told, "name": method}
                line |= {"point": point, "scores": scores}
                line["lr"] = row.config.train.lr
                if row.summary is not None:
                    line |= {"steps": row.summary.steps, "tokens": row.summary.tokens}
                    alone = len(wanted) == 1
                    line |= {"seconds": _seconds(row.folder.metrics) if alone else None}
                    line |= elsewhere_of(row.summary.evaluation)
                file.write(json.dumps(line) + "\n")
                mean = {arm: round(statistics.mean(each), 3) for arm, each in scores.items()}
                print(f"  {method} {words(point)}: {mean} {row.error or ''}", flush=True)
    print(f"{name}, {count} rows, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    shutil.rmtree(folder)


def _seconds(metrics: Path) -> float:
    """To the last step, with held-out losses and answers between the steps; no evaluation."""
    last = metrics.read_text(encoding="utf-8").splitlines()[-1]
    return float(json.loads(last)["seconds"])


def settings_of(
    task: Task, train: Mapping[str, object], evaluate: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    """What the runs of a task are evaluated by, as keys of a config, beside ``train``."""
    limits = {"rows": task.held_rows, "max_new_tokens": task.max_new_tokens}
    return {"train": dict(train), "evaluate": {**limits, **UNTOLD, **evaluate}}


def elsewhere_of(evaluation: Mapping[str, Any] | None) -> dict[str, object]:
    """What became of the probes, where there were any."""
    if not evaluation or not evaluation["forgetting"]:
        return {}
    keys = ("probe", "base", "tuned", "difference", "low", "high", "outcome")
    found = [{key: each[key] for key in keys} for each in evaluation["forgetting"]]
    return {"skill": evaluation["verdict"]["skill"]["answer"], "forgetting": found}


def words(point: Mapping[str, object]) -> str:
    """A point of a grid in words."""
    return ", ".join(f"{key} {value}" for key, value in sorted(point.items()))


def key_of(line: Mapping[str, Any]) -> Key:
    """What a run was: its rows, its method and its point of a grid."""
    place = (line["task"], line.get("rows"), line["seed"], line["name"])
    return *place, words(line.get("point", {}))


def scores_of(task: Task, run: Path) -> dict[str, list[float]]:
    """The score of each held-out row in each arm."""
    lines = (run / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    score = _rouge_l if task is TASKS["summary"] else _check(task)
    arms = rows[0]["answers"].keys()
    return {
        arm: [round(score(row["answers"][arm], row["reference"]), 3) for row in rows]
        for arm in arms
    }


def _rouge_l(text: str, reference: str) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return float(scorer.score(reference, text)["rougeL"].fmeasure)


def _check(task: Task) -> Callable[[str, str], float]:
    """The task's check as the product builds it."""
    (check,) = build_checks(EvaluateSettings(checks=(task.check,)).checks)
    return check.score


def tuned_score(line: Mapping[str, Any]) -> float:
    """The mean score of a run that was measured."""
    return float(statistics.mean(line["scores"][TUNED]))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Every run that was measured."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
