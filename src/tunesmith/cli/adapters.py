"""`tunesmith adapters`: which there are, everything about one, does it fit, its export."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.combine import conflicts, merge
from tunesmith.cli.command import Outcome, command
from tunesmith.cli.console import harmless, print_facts, print_table, say
from tunesmith.core.numbers import bytes_text, count_text, many, percent

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.adapters.fit import Mismatch
    from tunesmith.exports.export import Exported
    from tunesmith.runs.adapter_record import AdapterRecord
    from tunesmith.runs.fit import Verified


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
    from tunesmith.runs.locate import find_adapter

    found = find_adapter(adapter, root)
    # What is heavy is imported behind what can refuse at once.
    from tunesmith.exports.export import ExportOrder, export_adapter

    order = ExportOrder(to, out, dtype, merged, prompts)
    done = export_adapter(found, order, model=model, force=force, emit=say)
    return Outcome(done.to_json(), show=lambda console: _show_export(done, console))


def _show_export(done: "Exported", console: "Console") -> None:
    console.print(f"{done.out}: {done.kind}, {bytes_text(done.bytes)}", style="bold")
    for sentence in done.comparison.sentences() if done.comparison else ():
        console.print(harmless(sentence), soft_wrap=True)
    for note in (done.not_run, *done.notes):
        if note:
            console.print(harmless(note), style="yellow", soft_wrap=True)
    console.print("Next", style="bold")
    for line in done.next:
        console.print(f"  {line}", soft_wrap=True)


app = typer.Typer(help="Trained adapters: list, verify, combine, hand over.")
app.command("conflicts")(conflicts)
app.command("merge")(merge)
app.command("export")(export)

SHOWN_HASH, SHOWN_MISMATCHES = 12, 10
SHOWN_IN_LIST = 8  # letters of a hash
TITLES = ("adapter", "kind", "base", "hash", "rank", "size", "score", "from")
WHOLE = ("adapter", "kind", "base", "hash", "score")

Root = Annotated[
    Path,
    typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
]
Named = Annotated[
    str,
    typer.Argument(
        metavar="A", help="A run's folder, its name below --root, or an adapter's folder."
    ),
]


@app.command("list")
@command
def list_(
    folder: Annotated[
        list[Path] | None,
        typer.Argument(
            show_default=False, help="Adapters' folders, or folders that hold some, besides."
        ),
    ] = None,
    root: Root = Path("runs"),
) -> Outcome:
    """The adapters of all runs, and those in further folders."""
    from tunesmith.runs.adapter_record import list_adapters

    records = list_adapters(root, folder or ())
    document = {"adapters": [record.to_json() for record in records]}
    return Outcome(document, show=lambda console: _show_list(records, root, console))


def _show_list(records: "list[AdapterRecord]", root: Path, console: "Console") -> None:
    if not records:
        console.print(f"No adapters in {root}. `tunesmith demo` or `tunesmith train` makes one.")
        return
    sound = [record for record in records if record.fault is None]
    if sound:
        print_table(console, TITLES, rows=map(_row, sound), numbers=("rank", "size"), whole=WHOLE)
    purposes = [(each.name, each.goal or each.data or "") for each in sound]
    if known := [(name, text) for name, text in purposes if text]:
        console.print("\nWhat they are for", style="bold")
        print_facts(console, known)
    for record in records:
        if record.fault is not None:
            told = harmless(f"{record.name} cannot be read: {record.fault}")
            console.print(told, style="red", soft_wrap=True)


def _row(record: "AdapterRecord") -> tuple[str, ...]:
    tokens = many(record.virtual_tokens, "token") if record.virtual_tokens else ""
    return (
        record.name,
        record.kind,
        _last(record.base),
        (record.base_sha256 or "")[:SHOWN_IN_LIST],
        str(record.rank) if record.rank else tokens,
        bytes_text(record.bytes),
        _score_text(record),
        "run" if record.run else record.origin,
    )


def _last(base: str) -> str:
    return Path(base).name if base.startswith(("/", ".", "~")) else base


def _score_text(record: "AdapterRecord") -> str:
    return "" if record.score is None else f"{percent(record.score.score)} {record.score.check}"


@app.command("show")
@command
def show(adapter: Named, root: Root = Path("runs")) -> Outcome:
    """One adapter: its base, size, purpose, score, files, and the commands that come next."""
    from tunesmith.runs.adapter_record import files_of, next_commands, record_of, settings_of
    from tunesmith.runs.locate import find_adapter

    found = find_adapter(adapter, root)
    assert found.adapter is not None
    record = record_of(found.adapter, root)
    settings, files = settings_of(record), files_of(record)
    more = {"settings": settings, "files": files, "next": next_commands(record)}
    return Outcome(
        {**record.to_json(), **more},
        show=lambda console: _show_adapter(record, settings, files, console),
        exit_status=0 if record.fault is None else 1,
    )


def _show_adapter(
    record: "AdapterRecord",
    settings: dict[str, object],
    files: dict[str, int],
    console: "Console",
) -> None:
    from tunesmith.runs.adapter_record import next_commands

    console.print(str(record.folder), style="bold", soft_wrap=True)
    if record.fault is not None:
        console.print(harmless(f"cannot be read: {record.fault}"), style="red", soft_wrap=True)
        return
    score = record.score
    interval = (
        f" (95 % interval {100 * score.low:.0f}..{100 * score.high:.0f}, {many(score.n, 'row')})"
        if score and score.low is not None and score.high is not None and score.n
        else ""
    )
    facts = [
        ("kind", record.kind),
        ("base", record.base),
        ("its SHA-256", record.base_sha256 or "unknown: known by its name alone"),
        ("size", f"{count_text(record.parameters)} parameters in {record.dtype}"),
        *((name, str(value)) for name, value in settings.items()),
        ("goal", record.goal or ""),
        ("data", record.data or ""),
        ("score", _score_text(record) + interval),
        ("from", record.origin),
        ("files", ", ".join(f"{name} ({bytes_text(size)})" for name, size in files.items())),
    ]
    print_facts(console, [(name, value) for name, value in facts if value])
    console.print("Next", style="bold")
    for line in next_commands(record):
        console.print(f"  {line}", soft_wrap=True)


@app.command("verify")
@command
def verify(
    adapter: Named,
    model: Annotated[
        str | None,
        typer.Option(show_default=False, help="The base to compare with, not the one it names."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="A base whose name alone differs is the right one.")
    ] = False,
    root: Root = Path("runs"),
) -> Outcome:
    """Does it fit its base: name, hash, layers and their widths, finite values? 1 if not."""
    from tunesmith.runs.locate import find_adapter

    found = find_adapter(adapter, root)
    # What is heavy is imported behind what can refuse at once.
    from tunesmith.runs.fit import verify_adapter

    verified = verify_adapter(found, model, force=force, emit=say)
    return Outcome(
        verified.to_json(),
        show=lambda console: _show_verified(verified, console),
        exit_status=0 if verified.fits else 1,
    )


def _show_verified(verified: "Verified", console: "Console") -> None:
    name = f"{verified.base.name} ({verified.base.sha256[:SHOWN_HASH]})"
    if not verified.mismatches:
        console.print(f"{verified.adapter} fits {name}.", style="green", soft_wrap=True)
        return
    verdict = "fits" if verified.fits else "does not fit"
    style = "yellow" if verified.fits else "bold red"
    console.print(f"{verified.adapter} {verdict} {name}:", style=style, soft_wrap=True)
    groups: dict[str, list[Mismatch]] = defaultdict(list)
    for each in verified.mismatches:
        groups[each.remedy].append(each)
    for remedy, group in groups.items():
        for each in group[:SHOWN_MISMATCHES]:
            left = " (overridden by --force)" if each.overridden else ""
            console.print(harmless(f"  {each.kind}: {each.message}{left}"), soft_wrap=True)
        if group[SHOWN_MISMATCHES:]:
            console.print(f"  ... and {len(group) - SHOWN_MISMATCHES:,} more (--json lists all)")
        if remedy and not all(each.overridden for each in group):
            console.print(harmless(f"  -> {remedy}"), soft_wrap=True)
