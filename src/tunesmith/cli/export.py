"""`tunesmith adapters export`: an adapter written for another program, run there, compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.console import harmless, say
from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.quantities import bytes_text

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.workflows.export_adapter import Exported


@command
def export(  # noqa: PLR0913  # one parameter for each flag
    adapter: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A run's folder, its name below --root, or an adapter's folder."
        ),
    ],
    to: Annotated[
        Literal["peft", "merged", "gguf", "ollama", "vllm"],
        typer.Option(
            help="peft: as PEFT loads it. merged: one model, of transformers. gguf: for "
            "llama.cpp. ollama: the same with a Modelfile. vllm: folded for vLLM and SGLang."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder that is not there yet.")],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(
            show_default=False,
            help="Number format; else the base's or adapter's own, float16 for a GGUF model.",
        ),
    ] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole model, for gguf, ollama and vllm.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(show_default=False, help="The base, where it is not what the adapter names."),
    ] = None,
    prompts: Annotated[
        int, typer.Option(min=0, help="To answer with the export and compare; 0: do not run it.")
    ] = 5,
    force: Annotated[
        bool, typer.Option("--force", help="A base whose name alone differs is the right one.")
    ] = False,
    root: Annotated[
        Path,
        typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
    ] = Path("runs"),
) -> Outcome:
    """Hand an adapter over to another program, and see that it answers alike there."""
    from tunesmith.workflows.locate import find_adapter

    found = find_adapter(adapter, root)
    # What is heavy is imported behind what can refuse at once.
    from tunesmith.workflows.export_adapter import Order, export_adapter

    order = Order(to, out, dtype, merged, prompts)
    done = export_adapter(found, order, model=model, force=force, emit=say)
    return Outcome(done.to_json(), show=lambda console: _show(done, console))


def _show(done: "Exported", console: "Console") -> None:
    console.print(f"{done.out}: {done.kind}, {bytes_text(done.bytes)}", style="bold")
    for sentence in done.comparison.sentences() if done.comparison else ():
        console.print(harmless(sentence), soft_wrap=True)
    for note in (done.not_run, *done.notes):
        if note:
            console.print(harmless(note), style="yellow", soft_wrap=True)
    console.print("Next", style="bold")
    for line in done.next:
        console.print(f"  {line}", soft_wrap=True)
