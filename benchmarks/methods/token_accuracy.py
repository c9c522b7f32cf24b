"""Which tells, pass by pass, how held-out rows score: their loss, or how many tokens are right?

    python -m benchmarks.methods.token_accuracy --data DIR --out DIR [--tasks structure]
        [--rows 120] [--seeds 0] [--passes 8] [--rows-per-step 8] [--held-rows 400] [--threads 1]
    python -m benchmarks.methods.token_accuracy --report

A token is right where it is the most likely one after the row's own tokens before it. A LoRA run
without an end of its own; a line for each in RESULTS, and one that is there is not made again.
With each held-out row's own figures, how much a choice flatters is known too: passes are chosen by
one half of the rows, and scored on it and on the other, over many halves.
"""

import json
import random
import shutil
import statistics
from argparse import Namespace
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.methods.measure import arguments, parsed, read_results
from benchmarks.methods.training_answers import Passes, at_each_pass, run_of_passes
from tunesmith.engine.head import losses_and_hits
from tunesmith.runs.folder import RunFolder
from tunesmith.training.job import Job
from tunesmith.training.steps import micro_batches

RESULTS = Path(__file__).parent / "results" / "token_accuracy.jsonl"
BATCH_TOKENS = 1792
HALVES = 500
LOSS, RIGHT, WEIGHT, SCORE = range(4)  # what is kept of a held-out row: sums, weight and score
Choice = Callable[[NDArray[np.float64]], int]  # of the passes, by [passes, rows, 4]


def main() -> None:
    """Measure what is not measured yet, or report."""
    parser = arguments(__doc__, tasks=("structure",), methods=["lora"], threads=1)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--rows-per-step", type=int, default=8)
    parser.add_argument("--held-rows", type=int, default=400)
    given = parsed(parser, report)
    known = {tuple(line["key"]) for line in read_results(RESULTS)}
    for task, seed in product(given.tasks, given.seeds):
        key = (task, given.rows, seed, given.passes, given.rows_per_step, given.held_rows)
        if key in known:
            continue
        folder = given.out / "-".join(map(str, key))
        shutil.rmtree(folder, ignore_errors=True)
        passes = _passes(_run(task, seed, given, folder))
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "passes": passes}) + "\n")
        shutil.rmtree(folder)


def _run(task: str, seed: int, given: Namespace, folder: Path) -> RunFolder:
    """The run, with the checkpoint of each pass."""
    return run_of_passes(
        (task, given.rows, seed, "lora"),
        given.data,
        folder,
        train={"answer_rows": 0, "threads": given.threads},
        wanted=Passes(given.passes, given.rows_per_step, given.held_rows),
    )


def _passes(run: RunFolder) -> list[dict[str, object]]:
    """The held-out loss, token accuracy and score of each pass, and each row's."""
    right = iter(sorted(run.token_accuracies().items()))
    passes: list[dict[str, object]] = []
    for prepared, loss in at_each_pass(run):
        found = prepared.evaluator.first_scores(prepared.loaded, prepared.who)
        scores = [float(score or 0) for score in found]
        rows = [[*sums, s] for sums, s in zip(_row_sums(prepared.job), scores, strict=True)]
        held = statistics.mean(scores)
        passes.append({"loss": loss, "right": next(right)[1], "held": held, "rows": rows})
    return passes


@torch.no_grad()
def _row_sums(job: Job) -> list[tuple[float, float, float]]:
    """Losses, right tokens and weight of each held-out row, as the adapter is now."""
    assert job.held is not None
    found: dict[int, tuple[float, float, float]] = {}
    every = tuple(range(len(job.held)))
    for group in micro_batches(every, job.held.lengths.tolist(), tokens=BATCH_TOKENS):
        batch = job.batch([(i, job.held[i]) for i in group])
        losses, hits = losses_and_hits(job.engine.hidden_states(batch), batch, job.engine.head)
        weighted = torch.stack((losses.double(), hits.double(), torch.ones_like(losses).double()))
        weighted = (weighted * batch.weights).cpu()
        keys = [document.key for document in batch.documents if not document.shared]
        sizes = [int((job.held[i].weights[1:] > 0).sum()) for i in keys]
        for i, part in zip(keys, torch.split(weighted, sizes, dim=1), strict=True):
            loss, right, weight = part.sum(1).tolist()
            found[i] = (round(loss, 4), right, weight)
    return [found[i] for i in every]


def by_loss(passes: NDArray[np.float64]) -> int:
    """The pass of the lowest loss, as `train.best_by: loss` chooses."""
    return int(passes[:, :, LOSS].sum(1).argmin())


def by_tokens(passes: NDArray[np.float64]) -> int:
    """The pass of most tokens right, then of the lowest loss: `train.best_by: token_accuracy`."""
    sums = passes.sum(1)
    return int(np.lexsort((sums[:, LOSS], -sums[:, RIGHT]))[0])


def by_score(passes: NDArray[np.float64]) -> int:
    """The first pass of the best score, as the best of a grid is chosen."""
    return int(passes[:, :, SCORE].sum(1).argmax())


def halves(passes: NDArray[np.float64], choice: Choice, seed: int = 0) -> tuple[float, float]:
    """Mean score of the pass that half the rows choose: on that half, and on the other."""
    rng, own, other = random.Random(seed), [], []
    count = passes.shape[1]
    for _ in range(HALVES):
        order = rng.sample(range(count), count)
        here, there = passes[:, order[: count // 2]], passes[:, order[count // 2 :]]
        chosen = choice(here)
        own.append(here[chosen, :, SCORE].mean())
        other.append(there[chosen, :, SCORE].mean())
    return float(np.mean(own)), float(np.mean(other))


def report() -> str:
    """Each run: the scores of the passes that both would choose, and the best; then its passes."""
    lines = read_results(RESULTS)
    out = ["| task, rows, seed | by the loss | by right tokens | best pass | passes |"]
    out.append("|---|---|---|---|---|")
    for line in lines:
        passes = line["passes"]
        by_lowest = min(passes, key=lambda each: each["loss"])
        by_most = max(passes, key=lambda each: (each["right"], -each["loss"]))
        chosen = [100 * each["held"] for each in (by_lowest, by_most)]
        chosen.append(100 * max(each["held"] for each in passes))
        cells = [
            f"{each['loss']:.2f}, {100 * each['right']:.1f}, {100 * each['held']:.1f}"
            for each in passes
        ]
        out.append(f"| {' | '.join((_name(line), *(f'{c:.1f}' for c in chosen)))} |")
        out[-1] += f" {'; '.join(cells)} |"
    return "\n".join([*out, "", *_halves([each for each in lines if len(each["key"]) > 5])])


def _halves(lines: list[dict[str, Any]]) -> list[str]:
    """How much each choice flatters: its score on the rows that chose, and on others."""
    out = ["| task, rows, seed, rows in a half | by the loss | by right tokens | by the score |"]
    out.append("|---|---|---|---|")
    for line in lines:
        passes = np.array([each["rows"] for each in line["passes"]])
        cells = [_name(line) + f", {passes.shape[1] // 2}"]
        for choice in (by_loss, by_tokens, by_score):
            own, other = (100 * each for each in halves(passes, choice))
            cells.append(f"{own:.1f}, others {other:.1f} ({own - other:+.1f})")
        out.append(f"| {' | '.join(cells)} |")
    return out


def _name(line: Mapping[str, Any]) -> str:
    return ", ".join(map(str, line["key"][:3]))


if __name__ == "__main__":
    main()
