"""What does 4 bit cost the base itself, and what of it does the start `loftq` give back?

    python -m benchmarks.methods.four_bit --data DIR [--rows 100] [--ranks 16 64] [--threads 2]

The log loss a token of texts of the four tasks (their users' messages) under the base in 16 bit and
what 4 bit adds to it, alone and with an untrained adapter that starts from what 4 bit took.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.methods.measure import MODEL
from benchmarks.methods.tasks import FOUR, TASKS
from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.config import load_run_config
from tunesmith.data.tokenizer import encode
from tunesmith.evaluation.likelihoods import ScoredSpan, log_likelihoods
from tunesmith.runs import result

CHARACTERS = 600  # of a text


def main() -> None:
    """A line for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--rows", type=int, default=100, help="held-out rows of each task")
    parser.add_argument("--ranks", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    texts = {
        task: [row["messages"][1]["content"][:CHARACTERS] for row in held[: given.rows]]
        for task in FOUR
        for _, held in [TASKS[task].read(given.data)]
    }
    whole = losses(open_base(MODEL), texts, [None])
    quantized = open_base(MODEL, four_bit=True)
    names = [None, *(attached(quantized, rank) for rank in given.ranks)]
    found = losses(quantized, texts, names)
    print("| texts of | 16 bit, nats a token | 4 bit adds |", *(f"{n} |" for n in names[1:]))
    print("|---|---|" + "---|" * len(names))
    for task in FOUR:
        base = whole[task, None]
        added = (f"+{found[task, name] - base:.2f} |" for name in names)
        print(f"| {task} | {base:.2f} |", *added, flush=True)


def losses(
    loaded: LoadedBase, texts: Mapping[str, Sequence[str]], names: Sequence[str | None]
) -> dict[tuple[str, str | None], float]:
    """The mean loss of each task's texts under each adapter."""
    found = {}
    for task, each in texts.items():
        logs = log_likelihoods(loaded.engine, list(spans(loaded, each)), names)
        assert logs is not None
        for name, of in zip(names, logs, strict=True):
            found[task, name] = -statistics.mean(float(text.mean()) for text in of)
    return found


def spans(loaded: LoadedBase, texts: Sequence[str]) -> Iterator[ScoredSpan]:
    """Every token of each text but its first."""
    for group, ids in enumerate(encode(loaded.base.tokenizer, texts)):
        if len(ids) > 1:
            yield ScoredSpan(tuple(ids), 1, group)


def attached(loaded: LoadedBase, rank: int) -> str:
    """An adapter of this rank that starts from what 4 bit took; its name."""
    with tempfile.TemporaryDirectory() as folder:
        values = {
            "model": MODEL,
            "data": {"train": f"{folder}/none.jsonl"},
            "method": {"kind": "qlora", "init": "loftq", "rank": rank, "alpha": 2.0 * rank},
            "out": folder,
        }
        result.attach(loaded, load_run_config(None, values), name=name_of(rank))
    return name_of(rank)


def name_of(rank: int) -> str:
    """What an adapter of this rank is called."""
    return f"with loftq, rank {rank}"


if __name__ == "__main__":
    main()
