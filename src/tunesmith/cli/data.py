"""`tunesmith data`: would a run take a file, and how is it split in two?"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import CONTEXT, Outcome, command, help_with_keys, keys_named
from tunesmith.cli.compare import curve
from tunesmith.cli.console import harmless, messages, paragraph, print_table
from tunesmith.cli.data_show import KEYS as SHOWN
from tunesmith.cli.data_show import show
from tunesmith.cli.distill import distill
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import duration_between, many, percent

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.data.faults import Fault, Note
    from tunesmith.data.split_file import SplitDone
    from tunesmith.runs.inspect_data import Inspection


SHOWN_LINES = 5
WIDEST_BAR = 40
SIZES = ("tokens", "supervised_tokens", "supervised_share", "longest")


def document_of(inspection: "Inspection") -> dict[str, object]:
    """One file for scripts."""
    lengths, estimate = inspection.lengths, inspection.estimate
    return {
        "file": inspection.file,
        "format": inspection.format,
        "format_reason": inspection.reason,
        "rows": inspection.rows,
        "left_out": inspection.left_out,
        **{name: _if_known(inspection, name) for name in SIZES},
        "lengths": lengths.to_json() if lengths else None,
        "training": estimate.to_json() if estimate else None,
        "faults": [fault_document(fault) for fault in inspection.faults.listed],
        "unlisted_faults": dict(inspection.faults.unlisted),
        "warnings": [
            {"code": w.code, "message": w.message, "count": w.count, "lines": lines_of(w)}
            for w in inspection.warnings
        ],
    }


def _if_known(inspection: "Inspection", name: str) -> object:
    """A size in tokens; null where the format is not known, so that none could be counted."""
    return None if inspection.format is None else getattr(inspection, name)


def fault_document(fault: "Fault") -> dict[str, object]:
    """One fault for scripts."""
    names = ("file", "line", "code", "message", "remedy")
    return {name: getattr(fault, name) for name in names}


def show_check(inspections: "Sequence[Inspection]", console: "Console") -> None:
    """Everything for a person."""
    for each in inspections:
        _show_sizes(each, console)
        for warning in each.warnings:
            paragraph(console, warning_text(warning), style="yellow")
    unlisted: Counter[str] = Counter()
    for each in inspections:
        unlisted.update(each.faults.unlisted)
    groups = _by_code(fault for each in inspections for fault in each.faults.listed)
    for code, group in groups.items():
        if len(groups) > 1:
            count = many(len(group) + unlisted[code], "fault")
            console.print(f"{code}: {count}", style="bold red")
        for fault in group:
            paragraph(console, str(fault), style="red")
        if unlisted[code]:
            told = f"... and {unlisted[code]:,} more `{code}`: the first {len(group):,} are listed"
            paragraph(console, told, style="bold red")
    faults = sum(each.faults.count for each in inspections)
    verdict = f"{many(faults, 'fault')}: a run would refuse this data." if faults else "No faults."
    warnings = sum(len(each.warnings) for each in inspections)
    told = f" {many(warnings, 'note')}: docs/data-quality.md explains them." if warnings else ""
    console.print(f"{verdict}{told}", style="bold")


def lines_of(warning: "Note") -> list[int]:
    """The lines that it is about; none where it is about the file."""
    return [line for line in warning.lines if line]


def warning_text(warning: "Note") -> str:
    """`note: what it is (3 rows: line 1, 2, 9) [duplicates]`."""
    numbers = lines_of(warning)
    if warning.lines and not numbers:
        return f"note: {warning.message} [{warning.code}]"
    lines = ", ".join(map(str, numbers[:SHOWN_LINES]))
    more = ", ..." if len(numbers) > SHOWN_LINES else ""
    where = f": line {lines}{more}" if lines else ""
    noun = "line" if warning.code == "blank_line" else "row"
    return f"note: {warning.message} ({many(warning.count, noun)}{where}) [{warning.code}]"


def _by_code(faults: "Iterable[Fault]") -> "dict[str, list[Fault]]":
    groups: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        groups[fault.code].append(fault)
    return groups


def _show_sizes(each: "Inspection", console: "Console") -> None:
    if each.format is None and not each.rows:
        return  # the fault of the file says it all
    if each.format is None:
        paragraph(console, f"{each.file}: format unknown, {many(each.rows, 'row')}")
        return
    share = f"{each.supervised_tokens:,} supervised, {percent(each.supervised_share)}"
    why = f" ({each.reason})" if each.reason else ""
    paragraph(
        console,
        f"{each.file}: format {each.format}{why}, {_rows(each)}, "
        f"{many(each.tokens, 'token')} ({share}, the longest row {each.longest:,})",
    )
    if each.lengths is not None and sum(each.lengths.counts) > 1:
        quantiles = each.lengths.quantiles
        paragraph(
            console,
            f"  lengths: half of the rows have up to {many(quantiles[50], 'token')}, "
            f"95 % up to {quantiles[95]:,}",
        )
        _show_histogram(each.lengths.edges, each.lengths.counts, console)
    if each.estimate is not None:
        told = each.estimate
        paragraph(
            console,
            f"  training: {many(told.tokens, 'token')}, "
            f"{duration_between(told.low, told.high)} of steps here (by {told.source})",
        )


def _rows(each: "Inspection") -> str:
    """`60 rows`, or `60 rows (10 of 70 left out)`."""
    out = f" ({each.left_out:,} of {each.rows + each.left_out:,} left out)" if each.left_out else ""
    return f"{many(each.rows, 'row')}{out}"


def _show_histogram(edges: Sequence[int], counts: Sequence[int], console: "Console") -> None:
    most = max(counts)
    rows = [
        (f"{low:,}", f"{high - 1:,}", f"{count:,}", "█" * -(-WIDEST_BAR * count // most))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    numbers = ("tokens from", "to", "rows")
    print_table(console, (*numbers, ""), rows=rows, numbers=numbers)


MOST_STRATA = 20


@command
def split(  # noqa: PLR0913  # one parameter for each flag
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rows, as for `data check`.")],
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="A new folder: train.jsonl and eval.jsonl.")
    ],
    share: Annotated[float, typer.Option(help="Of the rows that are held out.")] = 0.1,
    by: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What stays on one side: cluster (rows that ask the same or nearly the same), "
            "row (each by itself), or the name of a column (rows with the same value).",
        ),
    ] = "cluster",
    stratify: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Hold out about the same share of each value: answer, or the name of a column.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63, help="Of the draw.")] = 0,
    format: Annotated[  # the key's name
        str, typer.Option("--data.format", metavar="NAME", help="Layout of a row.")
    ] = "auto",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--data.map", metavar="OURS=THEIRS", help="A column's name in the file. Repeatable."
        ),
    ] = None,
    encoding: Annotated[
        str, typer.Option("--data.encoding", metavar="NAME", help="Of text files.")
    ] = "auto",
    delimiter: Annotated[
        str | None, typer.Option("--data.delimiter", metavar="MARK", help="Between columns.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--data.part", metavar="NAME", help="Sheet, JSON list, member of a zip."),
    ] = None,
) -> Outcome:
    """Hold out rows in two files; what is nearly the same is never on both sides.

    The choice depends on the rows and the seed, not on their order. Rows of JSON lines are copied
    byte for byte, other files become JSON lines.
    """
    from tunesmith.data.rows import ReadOptions
    from tunesmith.data.split_file import SplitSettings, split_data

    if not 0 < share < 1:
        raise UsageError(f"--share must be above 0 and below 1 (given: {share:g}).")
    settings = SplitSettings(
        file=file,
        out=out,
        share=share,
        by=by,
        stratify=stratify,
        seed=seed,
        format=format,
        columns=_columns(columns or []),
        options=ReadOptions(encoding, delimiter, part),
    )
    done = split_data(settings)
    words = ["--data", str(done.train), "--data.eval", str(done.held)]
    words += [] if format == "auto" else ["--data.format", format]
    words += [word for pair in columns or [] for word in ("--data.map", pair)]
    following = f"tunesmith train {shlex.join(words)}"
    return Outcome(
        {**done.to_json(), "next": [following]},
        show=lambda console: _show(done, following, console),
    )


def _columns(pairs: list[str]) -> dict[str, str]:
    from tunesmith.config.load import parse_overrides

    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UsageError(f"--data.map takes OURS=THEIRS (given: {', '.join(wrong)}).")
    nested = parse_overrides([f"--data.map={pair}" for pair in pairs]).get("data", {})
    assert isinstance(nested, dict)
    return {str(ours): str(theirs) for ours, theirs in nested.get("map", {}).items()}


def _show(done: "SplitDone", following: str, console: "Console") -> None:
    train, held = done.rows
    together = f"{many(done.groups, 'group')} of rows stayed together, the largest of"
    text = f"{many(train, 'row')} to train on, {held:,} held out; {together} {done.largest:,}."
    console.print(text, soft_wrap=True)
    for note in done.notes:
        console.print(harmless(warning_text(note)), style="yellow", soft_wrap=True)
    if done.strata:
        names = sorted(done.strata, key=lambda name: -sum(done.strata[name]))
        rows = [(name, *(f"{n:,}" for n in done.strata[name])) for name in names[:MOST_STRATA]]
        print_table(console, ("", "train", "eval"), rows=rows, numbers=("train", "eval"))
        if len(names) > MOST_STRATA:
            console.print(f"and {len(names) - MOST_STRATA:,} more; --json lists all")
    console.print(f"{done.train}\n{done.held}", soft_wrap=True)
    console.print("\nNext:", style="bold")
    console.print(f"  {harmless(following)}", soft_wrap=True)


app = typer.Typer(help="Check data, see it as the model will, split it, distil an instruction.")

LIMITS = ("data.too_long", "data.max_tokens", "data.drop")
METHOD = ("method.kind", "train.epochs", "train.seed", "train.threads", "dtype", "device")
RUN = (*SHOWN, "data.eval", *LIMITS, *METHOD)


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE [FILE ...]",
        help="Rows: JSONL, JSON, CSV, Parquet, XLSX, text, a folder; several are trained together.",
    ),
]


@app.command("check", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)
@command
def check(
    context: typer.Context,
    file: File,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*RUN))] = False,
) -> Outcome:
    """Every fault with its line and a remedy; exit status 1 if a run would refuse the data.

    Sizes, lengths and an estimate of the training time stand beside them, and notes on what would
    train badly: docs/data-quality.md. Tokens are kept, so that neither a second check nor the run
    makes them again.
    """
    from tunesmith.cli.keys import config_of_file
    from tunesmith.cli.progress_display import RunDisplay
    from tunesmith.runs.inspect_data import inspect_data

    config = config_of_file(file, context.args, known=keys_named(*RUN), several=True)
    with RunDisplay(messages()) as display:
        found = inspect_data(config, emit=display)
    train, *held = found
    faults = [fault for each in found for fault in each.faults.listed]
    document = document_of(train) | {"faults": [fault_document(fault) for fault in faults]}
    if held:
        document["eval"] = document_of(held[0])
    return Outcome(
        document,
        show=lambda console: show_check(found, console),
        exit_status=1 if faults else 0,
    )


app.command("show", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(show)
app.command("split")(split)
app.command("distill")(distill)
app.command("curve", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(curve)
