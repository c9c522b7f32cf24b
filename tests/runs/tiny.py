"""A tiny base in a folder and rows for it."""

import json
from pathlib import Path

import torch

from tests.models import tiny
from tunesmith.config import RunConfig, load_run_config

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def base_folder(path: Path, kind: str = "llama", **changes: object) -> Path:
    shape = {"max_position_embeddings": 256, **changes}
    tiny.tiny_model(kind, **shape).save_pretrained(path)
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    return path


def rows_file(path: Path, count: int = 24) -> Path:
    rows = [{"prompt": f"say {i}", "completion": f"it is {i * 7}"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# Measures that a test does without; each takes longer than the training of a tiny run.
UNMEASURED = {"forgetting": "none", "consistency": "none", "knowledge": "none"}


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
        "train": {"steps": 8, "rows_per_step": 3, "save_steps": 2, "lr": 0.01},
        "evaluate": {
            "checks": [{"kind": "exact"}],
            "max_new_tokens": 8,
            **UNMEASURED,
            "timed_rows": 0,
        },
        "out": str(folder / "run"),
    }
    return load_run_config(None, {**values, **changes})


ONE_CHECKPOINT = {"steps": 8, "rows_per_step": 3, "save_steps": 8, "lr": 0.01}
LETTERS = "abcdefgh"


def talking_base(path: Path, template: str = TEMPLATE) -> Path:
    """A base that answers with words of ``LETTERS`` and ends them; draws differ by the prompt.

    A large first component of all embeddings stays nearly constant up to the head, whose first
    column so is a bias; against the mean of the others no letter is preferred.
    """
    model = tiny.tiny_model("llama", max_position_embeddings=256)
    tokenizer = tiny.tiny_tokenizer()
    said = torch.tensor(tokenizer.convert_tokens_to_ids([*LETTERS, "<|im_end|>"]))
    model.model.embed_tokens.weight.data[:, 0] = 2.0
    model.model.norm.weight.data[0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.v_proj.weight.data *= 2
    words = said[torch.randint(len(LETTERS), (1, 100), generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        mean = model.model(words).last_hidden_state[0].mean(0)
        mean[0] = 0.0
        head = model.lm_head.weight.data
        head -= (head @ mean)[:, None] * mean / (mean @ mean)
    head *= 20
    head[:, 0] = -10.0
    head[said, 0] = 0.0
    model.save_pretrained(path)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(path)
    return path
