"""An adapter exported for another program, then run there and compared."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from tunesmith.adapters import fit
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.core import files
from tunesmith.core.errors import RunError, UsageError
from tunesmith.core.files import TEMPORARY
from tunesmith.core.numbers import many
from tunesmith.data.rows import Message
from tunesmith.engine.forward import named_tensors
from tunesmith.engine.memory import available_bytes
from tunesmith.exports.compare import Artefact, ExportComparison, Here, compare
from tunesmith.exports.compare_folder import compare_adapter, compare_model, has_peft
from tunesmith.exports.gguf_model import write_model
from tunesmith.exports.llama_process import find_python
from tunesmith.exports.writers import (
    ADAPTER_FILE,
    MODEL_FILE,
    ExportedFolder,
    ExportJob,
    write_gguf,
    write_merged,
    write_ollama,
    write_peft,
    write_vllm,
)
from tunesmith.models.cache import Emit, folder_bytes, ignore
from tunesmith.runs.fit import verify_adapter
from tunesmith.runs.locate import Found

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
class ExportTrial:
    """What was written, by what it is read, whether it is the whole model, on how many prompts."""

    job: ExportJob
    program: Literal["transformers", "peft", "llama.cpp"]
    whole: bool
    prompts: int


def run_check(check: ExportTrial) -> tuple[ExportComparison | None, str]:
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


def _in_llama(
    check: ExportTrial, here: Here, talks: Sequence[Sequence[Message]]
) -> ExportComparison:
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


def _here(check: ExportTrial) -> Here:
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


def _too_large(check: ExportTrial) -> str:
    """Why both models do not fit in memory at once; nothing where they do."""
    numbers = sum(tensor.numel() for _, tensor in named_tensors(check.job.verified.skeleton))
    needed, free = 2 * numbers * torch.float32.itemsize, available_bytes(torch.device("cpu"))
    if free is None or needed < free:
        return ""
    return (
        f"It was not run: both models take {needed / 1e9:.1f} GB of memory, of which "
        f"{free / 1e9:.1f} GB are available."
    )


def _conversations(check: ExportTrial) -> list[list[Message]]:
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


Kind = Literal["peft", "merged", "gguf", "ollama", "vllm"]
Dtype = Literal["float32", "bfloat16", "float16"]
WRITERS: Mapping[Kind, Callable[[ExportJob], ExportedFolder]] = {
    "peft": write_peft,
    "merged": write_merged,
    "gguf": write_gguf,
    "ollama": write_ollama,
    "vllm": write_vllm,
}
PROMPTS = 5  # an export answers, to be compared


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What is to be written: for which program, where, in which number format.

    ``merged``: the whole model, for a program that takes adapters too. ``prompts`` are answered
    by what was written, 0: it is not run.
    """

    kind: Kind
    out: Path
    dtype: Dtype | None = None
    merged: bool = False
    prompts: int = PROMPTS


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and what came out when it was run; ``not_run`` says why it was not."""

    out: Path
    kind: Kind
    bytes: int
    comparison: ExportComparison | None = None
    not_run: str = ""
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, object]:
        """The documented keys, and what was compared."""
        found = self.comparison
        return {
            "out": str(self.out),
            "kind": self.kind,
            "bytes": self.bytes,
            "largest_difference": found and found.largest_difference,
            "scores": found
            and {"same_answers": {"score": found.same_answers / found.prompts, "n": found.prompts}},
            "comparison": found
            and {
                "program": found.program,
                "version": found.version,
                "prompts": found.prompts,
                "same_answers": found.same_answers,
                "largest_logit": found.largest_logit,
                "same_template": found.same_template,
                "same_text": found.same_text,
                "sentences": found.sentences(),
            },
            "not_run": self.not_run or None,
            "notes": list(self.notes),
            "next": list(self.next),
        }


def export_adapter(
    found: Found,
    order: ExportOrder,
    *,
    model: str | None = None,
    force: bool = False,
    emit: Emit = ignore,
) -> Exported:
    """Write an adapter for another program, run that on some prompts, and compare.

    ``model`` and ``force`` are those of ``verify_adapter``. Raises AdapterError for an adapter that
    does not fit its base or has no place in that format, RunError where the disk refuses.
    """
    if order.merged and order.kind == "peft":
        raise UsageError("A merged model is no adapter for PEFT.", remedy="Take --to merged.")
    files.require_new(order.out)
    verified = verify_adapter(found, model, force=force, emit=emit)
    fit.require(verified.adapter, verified.mismatches)
    job = ExportJob(verified, order.out, order.dtype, order.merged, found.four_bit, emit)
    written = WRITERS[order.kind](job)
    size = folder_bytes(order.out)
    check = ExportTrial(job, written.program, written.whole, order.prompts)
    comparison, not_run = run_check(check)
    return Exported(order.out, order.kind, size, comparison, not_run, written.notes, written.next)
