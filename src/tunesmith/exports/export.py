"""An adapter exported for another program, then run there and compared."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from tunesmith.adapters import fit
from tunesmith.adapters.class_names import folder_in_class
from tunesmith.adapters.folder import system_of
from tunesmith.adapters.merge import Into
from tunesmith.core import files
from tunesmith.core.errors import RunError, UsageError
from tunesmith.core.files import TEMPORARY
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
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
    Quantization,
    open_in_fp32,
    own_tokenizer_of,
    write_gguf,
    write_merged,
    write_ollama,
    write_peft,
    write_vllm,
)
from tunesmith.models.cache import folder_bytes
from tunesmith.runs.fit import verify_adapter
from tunesmith.runs.locate import LocatedTarget

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
NO_LLAMA = (
    "llama.cpp is not installed, so the files were not run: pip install tunesmith[llama-cpp], or "
    "name a Python that has it in TUNESMITH_LLAMA_PYTHON."
)


def run_export(
    job: ExportJob, written: ExportedFolder, prompts: int
) -> tuple[ExportComparison | None, str]:
    """The comparison of what was written; or None, and why it was not run."""
    if not prompts:
        return None, "It was not run: 0 prompts were requested."
    if written.program == "llama.cpp" and find_python() is None:
        return None, NO_LLAMA
    if refusal := _too_large(job):
        return None, refusal
    job.progress.phase(
        f"{job.out} is written. It is run on {pluralize(prompts, 'prompt')} and compared."
    )
    here, talks = _here(job, whole=written.whole), _conversations(job.adapter, prompts)
    if written.program == "transformers":
        return compare_model(here, job.out, talks), ""
    if written.program == "peft":
        found = compare_adapter(here, job.out, job.base, talks)
        return found, "" if has_peft() else "PEFT is not installed here, so it was not run there."
    try:
        return _in_llama(job, here, talks, whole=written.whole), ""
    except RunError as error:  # what was written is whole all the same
        return None, f"It was not run: {error}"


def _in_llama(
    job: ExportJob, here: Here, talks: Sequence[Sequence[Message]], *, whole: bool
) -> ExportComparison:
    """An adapter is run over its base, which is written beside it where it is missing."""
    out = job.out
    if whole:
        return compare(here, Artefact(out / MODEL_FILE), talks)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=out.parent) as folder:
        model = out / MODEL_FILE
        if not model.is_file():
            path, own = Path(folder, MODEL_FILE), own_tokenizer_of(job)
            model = write_model(job.base, path, tokenizer=own, progress=job.progress).path
        return compare(here, Artefact(model, out / ADAPTER_FILE), talks)


def _here(job: ExportJob, *, whole: bool) -> Here:
    """The base as the export has it, with the adapter, in fp32: an adapter alone has it dense."""
    loaded, adapter = open_in_fp32(job, four_bit=job.four_bit and whole, device="cpu")
    return Here(loaded.engine, loaded.tokenizer(adapter.name), loaded.base.stop_ids, adapter.name)


def _too_large(job: ExportJob) -> str:
    """Why both models do not fit in memory at once; empty where they do."""
    numbers = sum(tensor.numel() for _, tensor in named_tensors(job.verified.skeleton))
    needed, free = 2 * numbers * torch.float32.itemsize, available_bytes(torch.device("cpu"))
    if free is None or needed < free:
        return ""
    return (
        f"It was not run: both models take {needed / 1e9:.1f} GB of memory, of which "
        f"{free / 1e9:.1f} GB are available."
    )


def _conversations(adapter: Path, prompts: int) -> list[list[Message]]:
    """Half of them questions that its run was evaluated with, the others unrelated."""
    own = _asked(adapter)
    half = (prompts + 1) // 2
    texts = dict.fromkeys([*own[:half], *QUESTIONS, *own[half:]])
    system = system_of(adapter)
    first = [Message("system", system)] if system else []
    return [[*first, Message("user", text)] for text in texts][:prompts]


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
COMPARED = (
    *("program", "version", "prompts", "same_answers"),
    *("largest_logit", "same_template", "same_text"),
)


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What to write: for which program, where, in which number format.

    ``merged``: the whole model, for a program that takes adapters too. ``prompts`` are answered
    by what was written; 0: it is not run. ``quantize`` and ``into`` are those of ``ExportJob``.
    """

    kind: Kind
    out: Path
    dtype: Dtype | None = None
    merged: bool = False
    prompts: int = PROMPTS
    quantize: Quantization | None = None
    into: Into = "trained"

    def require_sense(self) -> None:
        """Raise UsageError for options that would have no effect."""
        if self.merged and self.kind == "peft":
            raise UsageError(
                "A merged model is not an adapter for PEFT.", remedy="Use --to merged."
            )
        if self.quantize and (self.kind not in ("gguf", "ollama") or not self._writes_model):
            raise UsageError(
                f"quantize {self.quantize} is for the model in a GGUF file, and none is written.",
                remedy="Give --to gguf --merged, or --to ollama.",
            )
        if self.quantize and self.dtype:
            raise UsageError("quantize and dtype both set the format of the weights: give one.")
        is_merge = self.kind == "merged" or self.merged
        if self.into == "original" and not is_merge:
            raise UsageError(
                "into names the base of a merge, and nothing is merged.",
                remedy="Give --to merged, or --merged.",
            )

    @property
    def _writes_model(self) -> bool:
        return self.merged or self.kind == "ollama"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and its comparison; ``not_run`` is the reason where there is none."""

    out: Path
    kind: Kind
    bytes: int
    comparison: ExportComparison | None = None
    not_run: str = ""
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The documented keys, and the comparison."""
        found = self.comparison
        share = found and {"score": found.same_answers / found.prompts, "n": found.prompts}
        return {
            "out": str(self.out),
            "kind": self.kind,
            "bytes": self.bytes,
            "largest_difference": found and found.largest_difference,
            "scores": share and {"same_answers": share},
            "comparison": found
            and {key: getattr(found, key) for key in COMPARED} | {"sentences": found.sentences()},
            "not_run": self.not_run or None,
            "notes": list(self.notes),
            "next": list(self.next),
        }


def export_adapter(
    found: LocatedTarget,
    order: ExportOrder,
    *,
    model: str | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Exported:
    """Write an adapter for another program, run that on some prompts, and compare.

    ``model`` and ``force`` are those of ``verify_adapter``. Raises AdapterError for an adapter that
    does not fit its base or that the format cannot hold, RunError where the disk cannot be written.
    """
    order.require_sense()
    files.require_new(order.out)
    verified = verify_adapter(found, model, force=force, progress=progress)
    fit.require(verified.adapter, verified.mismatches)
    with folder_in_class(verified.skeleton, verified.adapter) as folder:
        job = ExportJob(
            replace(verified, adapter=folder),
            order.out,
            order.dtype,
            order.merged,
            found.four_bit,
            progress,
            quantize=order.quantize,
            into=order.into,
        )
        return _exported(job, order)


def _exported(job: ExportJob, order: ExportOrder) -> Exported:
    if order.into == "original" and not job.four_bit:
        raise UsageError(
            "The adapter was not trained over a 4-bit base: there is no other one to merge into.",
            remedy="Leave into out.",
        )
    written = WRITERS[order.kind](job)
    size = folder_bytes(order.out)
    comparison, not_run = run_export(job, written, order.prompts)
    return Exported(order.out, order.kind, size, comparison, not_run, written.notes, written.next)
