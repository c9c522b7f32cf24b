"""One rank of two threads beside two ranks of one thread each: the same run, the same cores.

    python -m benchmarks.rank_speed [--steps 12] [--pairs 2]

LoRA on the rows of W1, 8 a step, two micro-batches or more, so that both ranks have work. Prints a
JSON line: tokens a second of each way (its first steps left out) and whether both adapters have
the same bytes.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import tunesmith as ts
from benchmarks.measure import UNCOUNTED_STEPS
from benchmarks.workload import chats

WAYS = {"one rank, two threads": (1, 2), "two ranks, one thread each": (2, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=2)
    given = parser.parse_args()
    speeds: dict[str, list[float]] = defaultdict(list)
    adapters: dict[str, bytes] = {}
    for _ in range(given.pairs):
        for way, (ranks, threads) in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                run = _trained(Path(folder), ranks, threads, given.steps)
                speeds[way].append(_tokens_per_second(run))
                assert run.adapter is not None
                adapters[way] = (run.adapter / "adapter_model.safetensors").read_bytes()
    medians = {way: statistics.median(each) for way, each in speeds.items()}
    one, two = medians.values()
    result = {"tokens_per_second": speeds, "ratio": two / one}
    print(json.dumps(result | {"same_bytes": len(set(adapters.values())) == 1}))


def _trained(folder: Path, ranks: int, threads: int, steps: int) -> ts.Run:
    rows = folder / "rows.jsonl"
    lines = ({"messages": [*chat["prompt"], *chat["completion"]]} for chat in chats())
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    train = {
        "rows_per_step": 8,
        "tokens_per_micro_batch": 1024,
        "retention": "none",
        "threads": threads,
    }
    return ts.train(
        str(rows),
        method="lora",
        steps=steps,
        ranks=ranks,
        settings={"train": train},
        out=str(folder / "run"),
    )


def _tokens_per_second(run: ts.Run) -> float:
    lines = run.metrics[UNCOUNTED_STEPS:]
    return statistics.median(float(str(line["tokens_per_second"])) for line in lines)


if __name__ == "__main__":
    main()
