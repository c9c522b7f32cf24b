"""Do the answers to training rows tell, pass by pass, how held-out rows are answered?

    python -m benchmarks.methods.training_answers --data DIR --out DIR [--tasks tone] [--rows 60]
        [--seeds 0 1] [--methods lora] [--threads 1]
    python -m benchmarks.methods.training_answers --report

A run of 10 passes without an end of its own, after each of which both are answered by the average
of the weights over that pass. A line for each run in RESULTS; one that is there is not made again.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import tunesmith as ts
from benchmarks.methods.measure import METHODS, arguments, parsed, read_results, settings_of
from benchmarks.methods.tasks import TASKS, write
from tunesmith.core.progress import SILENT
from tunesmith.evaluation.measures import KnownBase
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.prepare import PreparedRun, prepare
from tunesmith.runs.result import open_for
from tunesmith.runs.started import begin
from tunesmith.training import checkpoint

RESULTS = Path(__file__).parent / "results" / "training_answers.jsonl"
PASSES, ROWS_A_STEP, ANSWERED = 10, 4, 24


def main() -> None:
    """Measure what is not measured yet, or report."""
    parser = arguments(__doc__, tasks=("tone", "classification"), methods=["lora"], threads=1)
    parser.add_argument("--rows", type=int, default=60)
    given = parsed(parser, report)
    known = {tuple(line["key"]) for line in read_results(RESULTS)}
    for task, seed, method in product(given.tasks, given.seeds, given.methods):
        if (key := (task, given.rows, seed, method)) not in known:
            folder = given.out / "-".join(map(str, key))
            shutil.rmtree(folder, ignore_errors=True)
            train = {"answer_rows": ANSWERED, "threads": given.threads}
            passes = _passes(run_of_passes(key, given.data, folder, train=train))
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "passes": passes}) + "\n")
            shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a run without an end of its own sees its rows, and how many are held out."""

    count: int = PASSES
    rows_a_step: int = ROWS_A_STEP
    held_rows: int | None = None  # the task's own number


def run_of_passes(
    key: tuple[str, int, int, str],
    data: Path,
    folder: Path,
    *,
    train: Mapping[str, object],
    wanted: Passes = Passes(),
) -> RunFolder:
    """A run that keeps the checkpoint of each pass; ``train``: further settings."""
    name, count, seed, method = key
    every = -(-count // wanted.rows_a_step)
    task = replace(TASKS[name], train_rows=count)
    task = replace(task, held_rows=wanted.held_rows or task.held_rows)
    rows, held = write(task, data, folder)
    length = {"epochs": wanted.count, "rows_per_step": wanted.rows_a_step}
    losses = {"evaluate_steps": every, "save_steps": every, "average_steps": every}
    length["keep_checkpoints"] = wanted.count
    found = ts.train(
        str(rows),
        method=METHODS[method],
        eval=str(held),
        checks=[task.check],
        seed=seed,
        settings=settings_of(task, {**length, **losses, "retention": "none", **train}),
        out=folder / "run",
        progress=False,
    )
    return RunFolder(found.folder)


def at_each_pass(folder: RunFolder) -> Iterator[tuple[PreparedRun, float]]:
    """The run as it was after each pass, and its held-out loss there."""
    losses, config = folder.held_out_losses(), folder.read_config()
    loaded = open_for(config, progress=SILENT)
    prepared = prepare(begin(config, folder, SILENT), KnownBase(loaded))
    for kept in sorted(folder.checkpoints.glob("step-*"), key=checkpoint.step_of):
        prepared.put_back(kept)
        yield prepared, losses[checkpoint.step_of(kept)]


def _passes(folder: RunFolder) -> list[dict[str, float]]:
    """The held-out loss and both shares of each pass, by its checkpoint."""
    return [{"loss": loss, **_shares(prepared)} for prepared, loss in at_each_pass(folder)]


def held_score(prepared: PreparedRun) -> float:
    """Mean score of the held-out rows under the check, as the run is now."""
    return prepared.evaluator.first_score(prepared.loaded, prepared.who)


def _shares(prepared: PreparedRun) -> dict[str, float]:
    assert prepared.answers is not None
    return {"trained": prepared.answers.passed(), "held": held_score(prepared)}


def report() -> str:
    """Each run: passes down, with the held-out loss and the two shares."""
    out = ["| task, rows, seed, method | pass: held-out loss, % of training rows, % of held-out |"]
    out.append("|---|---|")
    for line in read_results(RESULTS):
        cells = [
            f"{number}: {each['loss']:.2f}, {100 * each['trained']:.0f}, {100 * each['held']:.0f}"
            for number, each in enumerate(line["passes"], start=1)
        ]
        out.append(f"| {', '.join(map(str, line['key']))} | {'; '.join(cells)} |")
    return "\n".join(out)


if __name__ == "__main__":
    main()
