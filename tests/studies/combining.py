"""Two tiny runs that learned opposite answers to the same questions."""

import json
from pathlib import Path

from tests.runs.tiny import base_folder, config
from tunesmith.runs.run import train_run

ANSWERS = {"left": "a b", "right": "it is"}
LEARNED = {"steps": 40, "rows_per_step": 8, "save_steps": 40, "lr": 0.01}


def rows_of(path: Path, answer: str, count: int = 24) -> str:
    rows = [{"prompt": f"say {i}", "completion": answer} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def train(folder: Path, name: str, **changes: object) -> Path:
    """A run in folder/name that says always the same, over the base in folder/base."""
    if not (folder / "base").exists():
        base_folder(folder / "base")
    data = {"train": rows_of(folder / f"{name}.jsonl", ANSWERS[name]), "eval": 0.4}
    values = {"data": data, "train": LEARNED, "out": str(folder / name)}
    train_run(config(folder, **{**values, **changes}))
    return folder / name
