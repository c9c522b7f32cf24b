"""`export`: an adapter for another program, which then gives the same answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from tunesmith.api.load import AdapterGiven, place_of
from tunesmith.api.show import Outcome, line, show_next
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import bytes_text

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.exports.export import Exported

Kind = Literal["peft", "merged", "gguf", "ollama", "vllm"]
Dtype = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["q8_0", "q4_k", "q5_k", "q6_k"]


@dataclass(frozen=True, slots=True)
class Export(Outcome):
    """What was written, and how its answers compare with those here."""

    found: "Exported"

    @property
    def out(self) -> Path:
        """The folder that was written."""
        return self.found.out

    def show(self, console: "Console") -> None:
        """Size, comparison, notes, and what comes next."""
        done = self.found
        console.print(f"{done.out}: {done.kind}, {bytes_text(done.bytes)}", style="bold")
        for sentence in done.comparison.sentences() if done.comparison else ():
            line(console, sentence)
        for note in filter(None, (done.not_run, *done.notes)):
            line(console, note, style="yellow")
        show_next(console, done.next, title="Next")


def export(  # noqa: PLR0913  # one keyword for each setting
    adapter: AdapterGiven,
    to: Kind,
    out: str | Path,
    *,
    dtype: Dtype | None = None,
    merged: bool = False,
    quantize: Quantization | None = None,
    into: Literal["trained", "original"] = "trained",
    model: str | None = None,
    prompts: int = 5,
    force: bool = False,
    root: str | Path = "runs",
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> Export:
    """Write an adapter for another program into the new folder ``out``, and compare its answers.

    ``to``: peft; merged (one model, of transformers); gguf for llama.cpp; ollama, the same with a
    Modelfile; vllm, folded for vLLM and SGLang. ``merged``: the whole model, for the last three.
    ``dtype``: number format; else the base's or adapter's own, float16 for a GGUF model.
    ``quantize``: a GGUF model in fewer bits, q4_k to q6_k by llama.cpp's quantizer. ``into``: an
    adapter of a 4-bit base is merged into that, dequantized, or into the `original` 16-bit one.
    ``prompts`` are answered by the export and compared; 0: it is not run. ``model``: the base,
    where it is not what the adapter names. Raises AdapterError for an adapter that does not fit, or
    that the format has no place for.

    >>> ts.export("runs/mine", "gguf", "mine-gguf")  # doctest: +SKIP
    """
    if to not in get_args(Kind):
        raise UsageError(
            f"There is no export to {to!r}.", remedy=f"Give one of {', '.join(get_args(Kind))}."
        )
    from tunesmith.core.files import require_new
    from tunesmith.runs.locate import find_adapter

    found = find_adapter(str(place_of(adapter)), Path(root))
    require_new(Path(out))
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.exports.export import ExportOrder, export_adapter

    order = ExportOrder(to, Path(out), dtype, merged, prompts, quantize, into)
    with working(on_event=on_event, progress=progress) as work:
        done = export_adapter(found, order, model=model, force=force, progress=work.progress)
    return Export(done)
