"""Which real runs is the degeneration measure tried on? Short LoRA runs of the default model.

    python -m benchmarks.degeneration_runs --data FOLDER --out FOLDER [--only NAME]

Three tasks, and a few steps on a language that the base hardly writes. A run that is there is not
made again. The base's own answers are those of its arm in the same runs.
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.diagnosed_run import train_or_resume
from benchmarks.quality_sets import READERS, Pairs
from tunesmith.core.errors import TunesmithError
from tunesmith.runs.folder import RunFolder

QUESTION_WORDS = 150  # of an abstract: its beginning is enough for a summary
CLASSES = 10  # of a set with many: so few rows teach no more of them
WITH_CLASSES = ("clinc", "banking77")


# Of an arm's first 20 answers, how many loop, copy the question or are one for all, as read. The
# base gives spoiled runs the answers that it gives sound ones: they are not read again.
READ = {
    "songys-0, tuned": 6,
    "songys-0, base": 9,
    "bad-songys-steps, tuned": 7,
    "clinc-0, tuned": 0,
    "clinc-0, base": 0,
    "e2e-0, tuned": 0,
    "e2e-0, base": 1,
}


@dataclass(frozen=True, slots=True)
class FineTune:
    """A run over ``rows`` of a set; ``held`` others are answered.

    Limits of the measure are judged on it (``is_judged``), or were chosen on it.
    """

    name: str
    of: str
    rows: int
    epochs: float = 1.0
    held: int = 40
    tokens_per_step: int = 256
    max_new_tokens: int = 96
    is_judged: bool = False


FINE_TUNES = (
    FineTune("songys-0", "songys", 320, 2, held=60, tokens_per_step=512, is_judged=True),
    FineTune("bad-songys-steps", "songys", 24),
    FineTune("clinc-0", "clinc", 120, max_new_tokens=24),
    FineTune("e2e-0", "e2e", 80, max_new_tokens=64),
)


def pairs_of(tune: FineTune, data: Path) -> tuple[Pairs, Pairs]:
    """Training and held-out rows; no question is in both."""
    pairs = list(dict(READERS[tune.of](data)).items())
    rng = random.Random(0)
    if tune.of in WITH_CLASSES:
        kept = set(rng.sample(sorted({answer for _, answer in pairs}), CLASSES))
        pairs = [pair for pair in pairs if pair[1] in kept]
    rng.shuffle(pairs)
    short = [(" ".join(q.split()[:QUESTION_WORDS]), a) for q, a in pairs[: tune.held + tune.rows]]
    return short[tune.held :], short[: tune.held]


def config_of(tune: FineTune, data: Path, folder: Path) -> dict[str, Any]:
    """The run's settings over rows that are written beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in zip(("train", "held"), pairs_of(tune, data), strict=True):
        lines = [json.dumps({"prompt": q, "completion": a}, ensure_ascii=False) for q, a in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    measures = dict.fromkeys(("forgetting", "consistency", "knowledge"), "none")
    return {
        "data": {"train": str(folder / "train.jsonl"), "eval": str(folder / "held.jsonl")},
        "method": {"kind": "lora"},
        "train": {
            "tokens_per_step": tune.tokens_per_step,
            "retention": "none",
            "epochs": tune.epochs,
        },
        "evaluate": {
            "checks": [{"kind": "exact"}],
            "max_new_tokens": tune.max_new_tokens,
            "rows": tune.held,
            "num_fewshot": 0,
            "timed_rows": 0,
            **measures,
        },
        "out": str(folder / "run"),
    }


def make(tune: FineTune, data: Path, out: Path) -> Path:
    """The run's folder, trained unless it is there; one that diverged has no answers."""
    folder = RunFolder(out / tune.name / "run")
    diverged = folder.path / "diverged.txt"
    if folder.answers.exists() or diverged.exists():
        return folder.path
    try:
        train_or_resume(folder, config_of(tune, data, out / tune.name))
    except TunesmithError as error:
        if error.code != "loss":
            raise
        diverged.write_text(str(error), encoding="utf-8")
    return folder.path


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="runs whose name contains this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for tune in FINE_TUNES:
        if given.only in tune.name:
            print(make(tune, given.data, given.out), flush=True)


if __name__ == "__main__":
    main()
