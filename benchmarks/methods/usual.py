"""PEFT with the Trainer's usual settings on the tasks of `step_sizes`, answered and scored as ours.

    python -m benchmarks.methods.usual --data DIR --out DIR [--tasks tone] [--rows 30 500]
        [--seeds 0 1 2] [--threads 1]

The Trainer gets the same documents with the same supervised tokens, and chooses its own order. A
line for each run in the results of `step_sizes`, under the name `peft`.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.methods.measure import MODEL, key_of, read_results, scores_of, settings_of
from benchmarks.methods.step_sizes import FIVE, RESULTS
from benchmarks.methods.tasks import TASKS, write
from benchmarks.run import run_module
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.config.run import DataSettings
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.runs.rows import load_rows
from tunesmith.training.job import Rows

NAME = "peft"


def main() -> None:
    """Train and score what is not in the results yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows and adapters")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=FIVE)
    parser.add_argument("--rows", nargs="+", type=int, default=[30, 60, 120, 500])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for place in product(given.seeds, given.rows, given.tasks):
        seed, rows, task = place
        known = {key_of(line) for line in read_results(RESULTS)}
        if (task, rows, seed, NAME, "") not in known:
            line = measured(task, rows, seed, given)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print({key: line[key] for key in ("task", "rows", "seed", "eval_loss", "seconds")})


def measured(name: str, count: int, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train by the Trainer, evaluate by ours."""
    task = TASKS[name]
    train, held = write(replace(task, train_rows=count), given.data, given.out / name)
    loaded = open_base(MODEL)
    settings = DataSettings(train=str(train), eval=str(held))
    rows = load_rows(settings, loaded.base.tokenizer, context=loaded.base.context, seed=seed)
    assert rows.held is not None
    with tempfile.TemporaryDirectory() as scratch:
        work, end = Path(scratch) / "rows.json", Path(scratch) / "adapter"
        numbered = (rows.train[i] for i in range(len(rows.train)))
        plain = [{"ids": r.ids.tolist(), "weights": r.weights.tolist()} for r in numbered]
        work.write_text(json.dumps(plain), encoding="utf-8")
        asked = [str(loaded.base.folder), str(work), str(end)]
        options = ["--seed", str(seed), "--threads", str(given.threads)]
        found = run_module(["benchmarks.sides.hf_usual", *asked, *options], given.threads)
        attach_folder(loaded, end, name=NAME)
        losses = losses_of_rows(loaded, rows.held, adapter=NAME)
        answers = Path(scratch) / "answers"
        ts.evaluate(
            end,
            str(held),
            checks=[task.check],
            settings=settings_of(task, {"threads": given.threads}),
            out=answers,
            progress=False,
        )
        scores = scores_of(task, answers)
    loss = weighted(losses, rows.held)
    return {
        **{"task": name, "rows": count, "seed": seed, "name": NAME, "method": "lora", "point": {}},
        **{"steps": found["steps"], "seconds": found["seconds"], "eval_loss": loss},
        **{"scores": {TUNED: scores[TUNED]}, "error": None},
    }


def weighted(losses: list[float], rows: Rows) -> float:
    """The mean loss of a supervised token, from the mean of each row."""
    counts = [float(rows[i].weights.sum()) for i in range(len(rows))]
    return sum(a * b for a, b in zip(losses, counts, strict=True)) / sum(counts)


if __name__ == "__main__":
    main()
