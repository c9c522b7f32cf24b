"""`tunesmith data show`: rows as the model will see them, in the terminal or as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import FILE_KEYS, Outcome, command, help_with_keys, keys_named
from tunesmith.cli.console import harmless, say
from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.numbers import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.show_data import ShownData, ShownRow

DATA = (*FILE_KEYS, "data.max_tokens", "data.document", "data.control_tokens")
KEYS = (*DATA, "model", "trust_remote_code")
BORDER = "│"
PAGE_ENDS = (".html", ".htm")


@command
def show(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Rows: JSONL, JSON, CSV, Parquet, XLSX, text, a folder."
        ),
    ],
    rows: Annotated[int, typer.Option("-n", min=1, metavar="ROWS", help="How many rows.")] = 3,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write them as a page, too.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show where tokens begin.")] = False,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*KEYS))] = False,
) -> Outcome:
    """Rows as the model will see them: the chat template applied, supervised text in colour."""
    from tunesmith.cli.keys import config_of_file
    from tunesmith.data.faults import refuse
    from tunesmith.runs.show_data import show_data

    if page is not None and page.suffix.lower() not in PAGE_ENDS:
        raise UsageError(
            f"--html {page}: a page is a file that ends in .html.",
            remedy=f"Write --html {page.with_suffix('.html')}",
        )
    config = config_of_file(file, context.args, known=keys_named(*KEYS))
    found = show_data(config, most=rows, emit=say)
    if not found.rows:
        refuse(found.faults)
        raise DataError(f"{file}: holds no row to show.", remedy="Name a file with rows.")
    if found.faults:
        say(f"note: {many(len(found.faults), 'fault')}; `data check` lists them.", style="yellow")
    for remark in found.remarks:
        say(f"note: {remark}", style="yellow")
    if page is not None:
        _write_page(page, found, file=file, model=config.model, by_token=tokens)
    document: dict[str, object] = {
        "rows": [_row(row, by_token=tokens) for row in found.rows],
        "notes": list(found.remarks),
        "html": None if page is None else str(page),
    }
    return Outcome(document, show=lambda console: _show_rows(found.rows, console, by_token=tokens))


def _write_page(page: Path, found: "ShownData", *, file: str, model: str, by_token: bool) -> None:
    from tunesmith.core.files import replace_text
    from tunesmith.runs.show_data import show_page

    text = show_page(found.rows, file=file, model=model, remarks=found.remarks, by_token=by_token)
    replace_text(page, text)
    say(f"Written: {page}")


def _row(row: "ShownRow", *, by_token: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "file": row.file,
        "line": row.line,
        "text": row.text,
        "spans": row.spans,
        "tokens": row.tokens,
        "supervised_tokens": row.supervised_tokens,
        "cut": row.cut,
    }
    return shown | ({"token_ends": row.token_ends} if by_token else {})


def _show_rows(rows: "tuple[ShownRow, ...]", console: "Console", *, by_token: bool) -> None:
    for row in rows:
        _show_row(row, console, by_token=by_token)
    mark = "green" if console.color_system is not None else "⟦in brackets⟧"
    borders = f"; {BORDER} stands in front of each token" if by_token else ""
    say(f"What is trained is {mark}; the rest is only read{borders}.", style="dim")


def _show_row(row: "ShownRow", console: "Console", *, by_token: bool) -> None:
    counts = f"{many(row.tokens, 'token')}, {row.supervised_tokens:,} trained"
    console.print(harmless(f"{row.file}:{row.line} ({counts})"), style="bold", soft_wrap=True)
    was_cut, was_supervised = False, False
    coloured = console.color_system is not None

    def put(text: str, style: str | None) -> None:
        console.print(text, style=style, soft_wrap=True, end="")

    for piece in row.pieces(by_token=by_token):
        # Without colours brackets show what colour would.
        if piece.supervised != was_supervised and not coloured:
            put("⟦" if piece.supervised else "⟧", None)
        if piece.is_cut and not was_cut:
            put(f"\n✂ cut here: {many(row.limit, 'token')} of {row.tokens:,} ✂\n", "bold red")
        style = "green" if piece.supervised else "dim"
        put(BORDER if by_token else "", "dim")
        put(harmless(piece.text), f"{style} italic" if piece.is_cut else style)
        was_cut, was_supervised = piece.is_cut, piece.supervised
    if was_supervised and not coloured:
        put("⟧", None)
    console.print()
