"""An adapter handed over: written for another program, then run there and compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tunesmith import files
from tunesmith.adapters import fit
from tunesmith.errors import UsageError
from tunesmith.export.compare import Comparison
from tunesmith.models.cache import Emit, folder_bytes, ignore
from tunesmith.workflows.export_check import Check, run_check
from tunesmith.workflows.export_writers import (
    Job,
    Written,
    write_gguf,
    write_merged,
    write_ollama,
    write_peft,
    write_vllm,
)
from tunesmith.workflows.locate import Found
from tunesmith.workflows.verify_adapter import verify_adapter

Kind = Literal["peft", "merged", "gguf", "ollama", "vllm"]
Dtype = Literal["float32", "bfloat16", "float16"]
WRITERS: Mapping[Kind, Callable[[Job], Written]] = {
    "peft": write_peft,
    "merged": write_merged,
    "gguf": write_gguf,
    "ollama": write_ollama,
    "vllm": write_vllm,
}
PROMPTS = 5  # an export answers, to be compared


@dataclass(frozen=True, slots=True)
class Order:
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
    comparison: Comparison | None = None
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
    order: Order,
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
    job = Job(verified, order.out, order.dtype, order.merged, found.four_bit, emit)
    written = WRITERS[order.kind](job)
    size = folder_bytes(order.out)
    check = Check(job, written.program, written.whole, order.prompts)
    comparison, not_run = run_check(check)
    return Exported(order.out, order.kind, size, comparison, not_run, written.notes, written.next)
