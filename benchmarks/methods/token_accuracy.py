"""Which tells, pass by pass, how held-out rows score: their loss, or how many tokens are right?

    python -m benchmarks.methods.token_accuracy --data DIR --out DIR [--tasks structure]
        [--rows 120] [--seeds 0] [--passes 8] [--rows-per-step 8] [--threads 1]
    python -m benchmarks.methods.token_accuracy --report

A token is right where it is the most likely one after the row's own tokens before it. A LoRA run
without an end of its own; a line for each in RESULTS, and one that is there is not made again.
"""

import json
import shutil
from itertools import product
from pathlib import Path

from benchmarks.methods.measure import arguments, parsed, read_results
from benchmarks.methods.training_answers import at_each_pass, held_score, run_of_passes

RESULTS = Path(__file__).parent / "results" / "token_accuracy.jsonl"


def main() -> None:
    """Measure what is not measured yet, or report."""
    parser = arguments(__doc__, tasks=("structure",), methods=["lora"], threads=1)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--rows-per-step", type=int, default=8)
    given = parsed(parser, report)
    known = {tuple(line["key"]) for line in read_results(RESULTS)}
    for task, seed in product(given.tasks, given.seeds):
        size = given.rows_per_step
        if (key := (task, given.rows, seed, given.passes, size)) in known:
            continue
        folder = given.out / "-".join(map(str, key))
        shutil.rmtree(folder, ignore_errors=True)
        run = run_of_passes(
            (task, given.rows, seed, "lora"),
            given.data,
            folder,
            train={"answer_rows": 0, "threads": given.threads},
            passes=given.passes,
            rows_a_step=size,
        )
        right = iter(sorted(run.token_accuracies().items()))
        passes = [
            {"loss": loss, "right": next(right)[1], "held": held_score(prepared)}
            for prepared, loss in at_each_pass(run)
        ]
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "passes": passes}) + "\n")
        shutil.rmtree(folder)


def report() -> str:
    """Each run: the scores of the passes that both would choose, and the best; then its passes."""
    out = ["| task, rows, seed | by the loss | by right tokens | best pass | passes |"]
    out.append("|---|---|---|---|---|")
    for line in read_results(RESULTS):
        passes = line["passes"]
        by_loss = min(passes, key=lambda each: each["loss"])
        by_tokens = max(passes, key=lambda each: (each["right"], -each["loss"]))
        chosen = [100 * each["held"] for each in (by_loss, by_tokens)]
        chosen.append(100 * max(each["held"] for each in passes))
        cells = [
            f"{each['loss']:.2f}, {100 * each['right']:.1f}, {100 * each['held']:.1f}"
            for each in passes
        ]
        name = ", ".join(map(str, line["key"][:3]))
        out.append(f"| {' | '.join((name, *(f'{c:.1f}' for c in chosen), '; '.join(cells)))} |")
    return "\n".join(out)


if __name__ == "__main__":
    main()
