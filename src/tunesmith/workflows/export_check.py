"""An export run on some prompts beside what it was made from, where its program is here."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from tunesmith.counts import many
from tunesmith.data.rows import Message
from tunesmith.engine.tensors import named_tensors
from tunesmith.errors import RunError
from tunesmith.export.compare import Artefact, Comparison, Here, compare
from tunesmith.export.compare_folder import compare_adapter, compare_model, has_peft
from tunesmith.export.gguf_model import write_model
from tunesmith.export.llama_process import find_python
from tunesmith.files import TEMPORARY
from tunesmith.train.memory import available_bytes
from tunesmith.workflows.export_writers import ADAPTER_FILE, MODEL_FILE, Job
from tunesmith.workflows.opening import attach_folder, open_base

QUESTIONS = (
    "What is the capital of France?",
    "Write a short poem about rain.",
    "What is 17 + 25?",
    "Translate 'good morning' into Spanish.",
    "Why is the sky blue?",
    "Name three fruits.",
    "How do I boil an egg?",
    "Tell me a joke.",
)
NAME = "tuned"
MOST_TOKENS = 24  # of an answer
NO_LLAMA = (
    "llama.cpp is not here, so the files were not run: pip install tunesmith[llama-cpp], or name a "
    "Python that has it in TUNESMITH_LLAMA_PYTHON."
)


@dataclass(frozen=True, slots=True)
class Check:
    """What was written, by what it is read, whether it is the whole model, on how many prompts."""

    job: Job
    program: Literal["transformers", "peft", "llama.cpp"]
    whole: bool
    prompts: int


def run_check(check: Check) -> tuple[Comparison | None, str]:
    """What came out; or None, and why it was not run."""
    if not check.prompts:
        return None, "It was not run: 0 prompts were asked for."
    if check.program == "llama.cpp" and find_python() is None:
        return None, NO_LLAMA
    if refusal := _too_large(check):
        return None, refusal
    prompts = many(check.prompts, "prompt")
    check.job.emit(f"{check.job.out} is written; to compare, it is run on {prompts}.")
    here, talks = _here(check), _conversations(check)
    out, base = check.job.out, check.job.base
    if check.program == "transformers":
        return compare_model(here, out, talks, most_tokens=MOST_TOKENS), ""
    if check.program == "peft":
        found = compare_adapter(here, out, base, talks, most_tokens=MOST_TOKENS)
        return found, "" if has_peft() else "PEFT is not installed here, so it was not run there."
    try:
        return _in_llama(check, here, talks), ""
    except RunError as error:  # what was written is whole all the same
        return None, f"It was not run: {error}"


def _in_llama(check: Check, here: Here, talks: Sequence[Sequence[Message]]) -> Comparison:
    """An adapter is run over its base, which is written beside it for that where it is not."""
    out = check.job.out
    if check.whole:
        return compare(here, Artefact(out / MODEL_FILE), talks, most_tokens=MOST_TOKENS)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=out.parent) as folder:
        model = out / MODEL_FILE
        if not model.is_file():
            into = Path(folder, MODEL_FILE)
            model = write_model(check.job.base, into, emit=check.job.emit).path
        artefact = Artefact(model, out / ADAPTER_FILE)
        return compare(here, artefact, talks, most_tokens=MOST_TOKENS)


def _here(check: Check) -> Here:
    """The base as the export has it, with the adapter, in fp32: an adapter alone has it dense."""
    job = check.job
    opened = open_base(
        job.verified.base.name,
        dtype="float32",
        device="cpu",
        four_bit=job.four_bit and check.whole,
        emit=job.emit,
    )
    attach_folder(opened, job.adapter, name=NAME, force=True)
    return Here(opened.engine, opened.tokenizer(NAME), opened.base.stop_ids, NAME)


def _too_large(check: Check) -> str:
    """Why both models do not fit in memory at once; nothing where they do."""
    numbers = sum(tensor.numel() for _, tensor in named_tensors(check.job.verified.skeleton))
    needed, free = 2 * numbers * torch.float32.itemsize, available_bytes(torch.device("cpu"))
    if free is None or needed < free:
        return ""
    return (
        f"It was not run: both models take {needed / 1e9:.1f} GB of memory, of which "
        f"{free / 1e9:.1f} GB are available."
    )


def _conversations(check: Check) -> list[list[Message]]:
    """Questions that its run was evaluated with, for a half, and some that have nothing to do."""
    asked = _asked(check.job.adapter)[: (check.prompts + 1) // 2]
    texts = [*asked, *QUESTIONS, *_asked(check.job.adapter)[len(asked) :]]
    return [[Message("user", text)] for text in dict.fromkeys(texts)][: check.prompts]


def _asked(adapter: Path) -> list[str]:
    path = adapter.parent / "answers.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [str(json.loads(line)["question"]) for line in lines if line]
    except (OSError, ValueError, KeyError, TypeError):
        return []
