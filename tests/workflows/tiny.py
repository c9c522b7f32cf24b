"""A tiny base in a folder and rows for it."""

import json
from pathlib import Path

from tests.models import tiny
from tunesmith.config import RunConfig, load_run_config

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def base_folder(path: Path, kind: str = "llama", **changes: object) -> Path:
    tiny.tiny_model(kind, max_position_embeddings=256, **changes).save_pretrained(path)
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    return path


def rows_file(path: Path, count: int = 24) -> Path:
    rows = [{"prompt": f"say {i}", "completion": f"it is {i * 7}"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(folder: Path, **changes: object) -> RunConfig:
    """A run of 8 small steps in folder/run, over a base and rows that are made where missing."""
    if not (folder / "base").exists():
        base_folder(folder / "base")
        rows_file(folder / "rows.jsonl")
    values: dict[str, object] = {
        "model": str(folder / "base"),
        "dtype": "float32",
        "data": {"train": str(folder / "rows.jsonl"), "eval": 0.2},
        "method": {"kind": "lora", "rank": 2},
        "train": {"steps": 8, "rows_per_step": 3, "checkpoint_steps": 2, "lr": 0.01},
        "evaluate": {"checks": [{"kind": "exact"}], "max_new_tokens": 8},
        "out": str(folder / "run"),
    }
    return load_run_config(None, {**values, **changes})
