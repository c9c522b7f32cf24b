"""Runs of methods and settings on the four tasks, by the product's own comparison.

    python -m benchmarks.methods.measure --data DIR --out DIR [--tasks tone] [--seeds 0 1 2]
        [--methods lora prompt-20 ...] [--grid train.lr=1e-3,1e-2] [--tokens 100000]

Every run of a task sees the same rows and about the same number of tokens. Results are kept a line
for each run in OUT/runs.jsonl, with the score of every held-out row, and a run that is there is not
made again; `benchmarks.methods.table` makes the table of them.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoTokenizer

from benchmarks.methods.tasks import FOUR, TASKS, Task, write
from tunesmith.config.run import DataSettings
from tunesmith.core.progress import Event, Progress
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.models.resolve import resolve
from tunesmith.runs.rows import load_rows
from tunesmith.studies.compare import compare_runs
from tunesmith.studies.variants import Variant, load_variants, read_grid
from tunesmith.training.events import StepDone

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
ROWS_PER_STEP = 8
PLACES = ("run", "adapter")  # of this machine
# measures of a run that no table here tells
UNTOLD = {
    "forgetting": "none",
    "consistency": "none",
    "knowledge": "none",
    "num_fewshot": 0,
    "timed_rows": 0,
}


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=FOUR)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--grid", nargs="*", default=[], help="KEY=VALUE,VALUE")
    parser.add_argument("--tokens", type=int, default=100_000, help="of each run, about")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    for name in given.tasks:
        for seed in given.seeds:
            measure(name, seed, given)


def measure(name: str, seed: int, given: argparse.Namespace) -> None:
    """The runs of a task with one seed that are missing, all in one comparison."""
    task, results = TASKS[name], given.out / "runs.jsonl"
    train, held = write(task, given.data, given.out / "data" / name)
    steps = steps_of(train, given.tokens)
    values = run_values(task, train, held, steps=steps, seed=seed, threads=given.threads)
    known = {(r["task"], r["seed"], r["name"], r["steps"]) for r in read_results(results)}
    wanted = [
        variant
        for variant in _variants(values, given)
        if (name, seed, variant.name, steps) not in known
    ]
    if not wanted:
        return
    print(f"{name}, seed {seed}, {steps} steps: {', '.join(v.name for v in wanted)}", flush=True)
    folder = given.out / "runs" / f"{name}-{seed}-{time.time_ns()}"
    found = compare_runs(wanted, folder, lambda name: Progress(partial(_say, name)))
    given.out.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        for row, document in zip(found.rows, (row.to_json() for row in found.rows), strict=True):
            scores = scores_of(task, row.folder.path) if row.error is None else {}
            told = {key: value for key, value in document.items() if key not in PLACES}
            line = {"task": name, "seed": seed, "steps": steps, **told, "scores": scores}
            line["method_settings"] = row.config.method.model_dump(mode="json")
            line["lr"] = row.config.train.lr
            file.write(json.dumps(line) + "\n")
            mean = {arm: statistics.mean(each) for arm, each in scores.items()}
            print(f"  {row.name}: {mean} {row.error or ''}", flush=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def run_values(
    task: Task, train: Path, held: Path, *, steps: int, seed: int, threads: int
) -> dict[str, Any]:
    """What every run of a task has in common, as a config's values."""
    return {
        "model": MODEL,
        "data": {"train": str(train), "eval": str(held)},
        "train": {
            "steps": steps,
            "rows_per_step": ROWS_PER_STEP,
            "save_steps": steps,
            "seed": seed,
            "threads": threads,
        },
        "evaluate": {
            "checks": [task.check],
            "rows": task.held_rows,
            "max_new_tokens": task.max_new_tokens,
            **UNTOLD,
        },
    }


def _variants(values: dict[str, Any], given: argparse.Namespace) -> list[Variant]:
    methods = [{"name": name, **METHODS[name]} for name in given.methods]
    return load_variants(None, {**values, "methods": methods}, grid=read_grid(given.grid))


def steps_of(train: Path, tokens: int) -> int:
    """Steps of the rows that see about so many tokens."""
    tokenizer = AutoTokenizer.from_pretrained(resolve(MODEL))
    settings = DataSettings(train=str(train), eval=0)
    rows = load_rows(settings, tokenizer, context=2048, seed=0).train
    return max(10, round(tokens / (ROWS_PER_STEP * float(rows.lengths.mean()))))


def scores_of(task: Task, run: Path) -> dict[str, list[float]]:
    """The score of each held-out row in each arm."""
    lines = (run / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    if task is TASKS["summary"]:
        scorer = RougeScorer(["rougeL"], use_stemmer=True)

        def score(text: str, reference: str) -> float:
            return float(scorer.score(reference, text)["rougeL"].fmeasure)

    else:
        (check,) = build_checks_of(task)
        score = check.score
    arms = rows[0]["answers"].keys()
    return {arm: [score(row["answers"][arm], row["reference"]) for row in rows] for arm in arms}


def build_checks_of(task: Task) -> Sequence[Any]:
    """The task's check as the product builds it."""
    from tunesmith.config.evaluate import EvaluateSettings

    return build_checks(EvaluateSettings(checks=(task.check,)).checks)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Every run that was measured."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _say(name: str, event: Event) -> None:
    if isinstance(event, StepDone) and event.step % 50 == 0:
        print(f"{name} {event.step}/{event.steps} {event.loss:.3f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
