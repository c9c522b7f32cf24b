"""What each way to keep the base's abilities does to a task's score and to the probes.

    python -m benchmarks.methods.retention --data DIR --out DIR [--tasks tone] [--methods lora]
        [--ways none kl-0.25-1] [--seeds 0 1 2] [--threads 2]
    python -m benchmarks.methods.retention --report

A line for each run in RESULTS; one that is there is not made again. All runs of a task and seed
train together; those with a further setting are apart, and so is `replay`, which has other rows.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.methods import measure as measuring
from benchmarks.methods.measure import Grid, arguments, parsed
from benchmarks.methods.replay import replayed
from benchmarks.methods.tasks import TASKS
from tunesmith.methods.table import learning_rate

RESULTS = Path(__file__).parent / "results" / "retention.jsonl"
WIDTH = 576  # of the default base
SHARES, WEIGHTS = (0.1, 0.25), (0.3, 1.0, 3.0)
WAYS: dict[str, Mapping[str, object]] = {
    "none": {"train.retention": "none"},
    **{
        f"kl-{share:g}-{weight:g}": {"train.retention": {"share": share, "kl_weight": weight}}
        for share, weight in product(SHARES, WEIGHTS)
    },
    "half-rate": {"train.retention": "none", "train.lr": learning_rate("lora", WIDTH) / 2},
    "decay": {"train.retention": "none", "train.weight_decay": 1.0},
    "scaled": {"train.retention": "none", "evaluate.forgetting.scale": "auto"},
    "none-averaged": {"train.retention": "none", "train.average_steps": "auto"},
    "averaged": {"train.retention": "default", "train.average_steps": "auto"},
    "default": {
        "train.retention": "default",
        "train.average_steps": "auto",
        "train.answer_rows": "auto",
    },
}
REPLAY = "replay"
REPLAYED = {f"{name}+{REPLAY}": replayed(task) for name, task in TASKS.items()}
TASKS |= REPLAYED
# The ways were compared before the average of the weights and the answers to training rows were
# defaults: the last three have the one, and the last the other.
PROBED: Mapping[str, Mapping[str, object]] = {
    "train": {"average_steps": 0, "answer_rows": 0},
    "evaluate": {"forgetting": {"probes": ["default"], "scale": "none"}},
}


def main() -> None:
    """Measure what is not measured yet, or report."""
    parser = arguments(__doc__, tasks=("classification", "tone"), methods=["lora"], threads=2)
    parser.add_argument("--rows", type=int, help="training rows, else the task's own number")
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, REPLAY), default=list(WAYS))
    given = parsed(parser, report)
    for seed, task in product(given.seeds, given.tasks):
        place = (task, given.rows or TASKS[task].train_rows, seed)
        ways = [WAYS[way] for way in given.ways if way != REPLAY]
        together = [way["train.retention"] for way in ways if len(way) == 1]
        grids: list[Grid] = [{key: [v] for key, v in way.items()} for way in ways if len(way) > 1]
        grids += [{"train.retention": together}] if together else []
        for grid in grids:
            measuring.measure(place, given.methods, grid, given, results=RESULTS, settings=PROBED)
        if REPLAY in given.ways:
            grid = {"train.retention": ["none"]}
            place = (f"{task}+{REPLAY}", *place[1:])
            measuring.measure(place, given.methods, grid, given, results=RESULTS, settings=PROBED)


def report() -> str:
    """Each task and method: ways down, with score, held-out loss, changes of the probes, seeds."""
    names = {measuring.words(point): way for way, point in WAYS.items()}
    groups: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for line in measuring.read_results(RESULTS):
        if line["error"] is None:
            task, _, replay = line["task"].partition("+")
            way = replay or names[measuring.words(line["point"])]
            groups[task, line["name"], line["rows"]][way].append(line)
    out = []
    for (task, method, rows), ways in sorted(groups.items()):
        probes = [each["probe"] for each in next(iter(ways.values()))[0]["forgetting"]]
        head = ["way", "score", "loss", *probes, "seeds"]
        out += [f"{task}, {method}, {rows} rows", "", f"| {' | '.join(head)} |"]
        out.append("|---" * len(head) + "|")
        for way, lines in ways.items():
            cells = [f"{100 * statistics.mean(map(measuring.tuned_score, lines)):.1f} %"]
            cells.append(f"{statistics.mean(line['eval_loss'] for line in lines):.3f}")
            for number in range(len(probes)):
                changes = [100 * line["forgetting"][number]["difference"] for line in lines]
                cells.append(f"{statistics.mean(changes):+.1f}")
            out.append(f"| {way} | {' | '.join(cells)} | {len(lines)} |")
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    main()
