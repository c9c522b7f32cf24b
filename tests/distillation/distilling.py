"""A distillation over a tiny base that talks, and what it wrote."""

import json
from pathlib import Path

from tunesmith.config import load_run_config
from tunesmith.config.distill import DistillSettings
from tunesmith.core.progress import Progress, ignore, never
from tunesmith.distillation.instruction import distill

INSTRUCTION = "Speak as a bee would, and keep it short."
HAS_F = {"kind": "regex", "name": "has_f", "pattern": "f"}
HAS_Z = {"kind": "regex", "name": "has_z", "pattern": "z"}
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
QUESTIONS = [f"say {word}" for word in WORDS]


def distil(base, folder, *, inputs=QUESTIONS, instruction=INSTRUCTION, out="rows.jsonl", **changes):
    """Distils the questions in ``folder``; keywords are settings, or values of the run's config."""
    prompt, questions = folder / "prompt.txt", folder / "inputs.jsonl"
    if instruction is not None:
        prompt.write_text(instruction)
    rows = [{"prompt": each} if isinstance(each, str) else each for each in inputs]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    resume = changes.pop("resume", False)
    emit, cancelled = changes.pop("emit", ignore), changes.pop("cancelled", never)
    progress = Progress(emit, cancelled=cancelled)
    config = load_run_config(
        None,
        {
            "model": str(changes.pop("model", base)),
            "dtype": "float32",
            "data": {"train": "unused"},
            "method": {"kind": changes.pop("method", "lora")},
            "train": {"seed": changes.pop("seed", 0)},
            "evaluate": {
                "checks": changes.pop("checks", []),
                "max_new_tokens": changes.pop("max_new_tokens", 12),
            },
        },
    )
    paths = {"prompt": prompt, "inputs": questions, "out": folder / out}
    paths |= {name: changes.pop(f"{name}_path", path) for name, path in paths.items()}
    named = {name: str(path) for name, path in paths.items()}
    if instruction is None:
        del named["prompt"]
    settings = DistillSettings.model_validate({"temperature": 1.0, **named, **changes})
    return distill(config, settings, progress=progress, resume=resume)


def rows_of(done):
    return [json.loads(line)["messages"] for line in Path(done.out).read_text().splitlines()]


def answers_of(done):
    return {messages[0]["content"]: messages[-1]["content"] for messages in rows_of(done)}


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("rows.*")}
