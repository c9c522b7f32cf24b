"""Step sizes, passes and learning rates on small and larger sets of the five tasks.

    python -m benchmarks.methods.step_sizes --data DIR --out DIR [--tasks tone] [--methods lora]
        [--rows 30 60 120 500] [--seeds 0] [--grid train.rows_per_step=4,8,16 train.epochs=3,10]
        [--threads 1]
    python -m benchmarks.methods.step_sizes --report

Where passes are given, only the last weights are evaluated, so that a setting is seen as it is;
with the defaults the best checkpoint counts. Runs are without retention, but for PRODUCT, which is
what a user gets. A line for each run in RESULTS; one that is there is not made again, and a command
that was stopped resumes by itself. `--grid` without values measures the defaults alone.
"""

import statistics
from collections import defaultdict
from itertools import product
from pathlib import Path

from benchmarks.methods import best_of_grid
from benchmarks.methods.measure import (
    Grid,
    arguments,
    measure,
    parsed,
    read_results,
    tuned_score,
    words,
)
from tunesmith.studies.variants import read_grid

RESULTS = Path(__file__).parent / "results" / "step_sizes.jsonl"
FIVE = ("classification", "sentiment", "english-reviews", "tone", "summary")
AT_THE_END = 1_000_000  # steps between held-out losses and checkpoints: after the last step alone
# The step of several runs that train together, so that each does not take its own small one.
# Without retention, so that settings differ in nothing else.
TOGETHER = {"tokens_per_micro_batch": 1792, "retention": "none"}
ENDS = {"save_steps": AT_THE_END, "evaluate_steps": AT_THE_END}
GRIDS: dict[int, list[Grid]] = {
    30: [{"train.rows_per_step": [4, 8], "train.epochs": [3, 10, 20]}],
    60: [{"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 10]}],
    120: [{"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 8]}],
    500: [{"train.rows_per_step": [4, 8, 16], "train.epochs": [3, 6]}],
}
BEFORE: Grid = {"train.tokens_per_step": [4096], "train.epochs": [3]}  # the earlier default
DEFAULTS: Grid = {}
PRODUCT: Grid = {"train.retention": ["default"]}


def main() -> None:
    """Measure what is not measured yet, or report."""
    parser = arguments(__doc__, tasks=FIVE, methods=["lora"], threads=1)
    parser.add_argument("--rows", nargs="+", type=int, default=list(GRIDS))
    parser.add_argument("--grid", nargs="*", help="KEY=VALUE,VALUE; a grid by size if left out")
    given = parsed(parser, report)
    for seed, rows, task in product(given.seeds, given.rows, given.tasks):
        every = [*GRIDS.get(rows, []), BEFORE, DEFAULTS, PRODUCT]
        for grid in every if given.grid is None else [read_grid(given.grid)]:
            train = {**TOGETHER, **(ENDS if "train.epochs" in grid else {})}
            measure(
                (task, rows, seed),
                given.methods,
                grid,
                given,
                results=RESULTS,
                settings={"train": train},
            )


def report() -> str:
    """Each method, number of rows and task with its settings; then the defaults and the best."""
    groups: dict[tuple[str, int, str], dict[str, list[dict[str, object]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for line in read_results(RESULTS):
        if line["error"] is None:
            groups[line["name"], line["rows"], line["task"]][words(line["point"])].append(line)
    head = "| method | rows | task | setting: score in % (held-out loss; steps; seeds) |"
    out = [head, "|---|---|---|---|"]
    for (name, rows, task), settings in sorted(groups.items()):
        cells = []
        for point, lines in settings.items():
            score = 100 * statistics.mean(map(tuned_score, lines))
            loss = statistics.mean(float(str(line["eval_loss"])) for line in lines)
            short = point.replace("train.", "") or "default"
            cells.append(f"{short}: {score:.0f} ({loss:.2f}; {lines[0]['steps']}; {len(lines)})")
        out.append(f"| {name} | {rows} | {task} | {', '.join(cells)} |")
    return "\n".join([*out, "", best_of_grid.table(read_results(RESULTS))])


if __name__ == "__main__":
    main()
