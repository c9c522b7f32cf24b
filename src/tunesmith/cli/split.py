"""`tunesmith data split`: one file into two, for training and evaluation."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.checked import warning_text
from tunesmith.cli.console import harmless
from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.tables import print_table
from tunesmith.counts import many
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.workflows.split_data import SplitDone

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
    from tunesmith.data.records import ReadOptions
    from tunesmith.workflows.split_data import SplitSettings, split_data

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
