"""`show`: rows as the model will see them, and which of their text is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tunesmith.api.settings import RunKeywords, config_given, is_named
from tunesmith.api.show import Outcome, line, sanitize
from tunesmith.api.sources import Data, as_source
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.language import localized
from tunesmith.core.numbers import pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.show_data import ShownData, ShownRow

BORDER = "│"
PAGE_ENDS = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class ShownRows(Outcome):
    """Rows as the model will see them; ``tokens``: with where tokens begin."""

    found: "ShownData"
    page: Path | None
    tokens: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What must not be overlooked."""
        count = len(self.found.faults)
        faults = (f"{pluralize(count, 'fault')}; `data check` lists them.",) if count else ()
        return (*faults, *self.found.remarks)

    def to_json(self) -> dict[str, object]:
        """What `data show --json` prints."""
        return {
            "rows": [_row(row, by_token=self.tokens) for row in self.found.rows],
            "notes": list(self.found.remarks),
            "html": None if self.page is None else str(self.page),
        }

    def show(self, console: "Console") -> None:
        """Each row, what is trained in colour or in brackets."""
        for row in self.found.rows:
            _show_row(row, console, by_token=self.tokens)

    def legend(self, *, in_colour: bool) -> str:
        """What the marks mean."""
        mark = "green" if in_colour else "⟦in brackets⟧"
        borders = f"; {BORDER} marks the start of each token" if self.tokens else ""
        return f"What is trained is {mark}; the rest is only read{borders}."


def show(
    data: Data,
    *,
    rows: int = 3,
    page: str | Path | None = None,
    tokens: bool = False,
    on_event: OnEvent | None = None,
    **keywords: Unpack[RunKeywords],
) -> ShownRows:
    """The first ``rows`` as the model will see them: its chat template applied.

    ``page``: an HTML file that shows the same. Raises DataError where no row can be shown.

    >>> ts.show("rows.jsonl", rows=2)  # doctest: +SKIP
    """
    page = None if page is None else Path(page)
    if page is not None and page.suffix.lower() not in PAGE_ENDS:
        raise UsageError(
            f"{page}: a page is a file that ends in .html.",
            remedy=f"Name it {page.with_suffix('.html')}.",
        )
    source = as_source(data)
    name = ", ".join(source) if isinstance(source, list) else str(source)
    with (
        config_given(source, keywords) as config,
        working(on_event=on_event, progress=False) as work,
    ):
        from tunesmith.runs.inputs import require_inputs

        require_inputs(config, is_named=is_named(keywords.get("model")), is_new=False)
        from tunesmith.data.faults import refuse
        from tunesmith.runs.inspection import inspect_unknown

        for each in inspect_unknown(config.data) or ():
            refuse(each.faults)
        from tunesmith.core.files import replace_text
        from tunesmith.runs.model_choice import with_model
        from tunesmith.runs.show_data import show_data, show_page

        config = with_model(config, progress=work.progress)
        found = show_data(config, max_rows=rows, progress=work.progress)
    if not found.rows:
        refuse(found.faults)
        raise DataError(f"{name}: holds no row to show.", remedy="Name a file with rows.")
    if page is not None:
        text = show_page(
            found.rows,
            file=name,
            model=config.model,
            remarks=found.remarks,
            by_token=tokens,
        )
        replace_text(page, text)
    return ShownRows(found, page, tokens)


def _row(row: "ShownRow", *, by_token: bool) -> dict[str, object]:
    names = ("file", "line", "text", "spans", "tokens", "supervised_tokens", "cut")
    shown: dict[str, object] = {name: getattr(row, name) for name in names}
    return shown | ({"token_ends": row.token_ends} if by_token else {})


def _show_row(row: "ShownRow", console: "Console", *, by_token: bool) -> None:
    counts = f"{pluralize(row.tokens, 'token')}, {row.supervised_tokens:,} trained"
    line(console, f"{row.file}:{row.line} ({counts})", style="bold")
    was_cut, was_supervised = False, False
    coloured = console.color_system is not None

    def put(text: str, *, style: str | None = None) -> None:
        console.print(text, style=style, soft_wrap=True, end="")

    for piece in row.pieces(by_token=by_token):
        # Without colours brackets show what colour would.
        if piece.supervised != was_supervised and not coloured:
            put("⟦" if piece.supervised else "⟧")
        if piece.is_cut and not was_cut:
            cut = f"✂ cut here: {pluralize(row.limit, 'token')} of {row.tokens:,} ✂"
            put(f"\n{localized(cut)}\n", style="bold red")
        style = "green" if piece.supervised else "dim"
        put(BORDER if by_token else "", style="dim")
        put(sanitize(piece.text), style=f"{style} italic" if piece.is_cut else style)
        was_cut, was_supervised = piece.is_cut, piece.supervised
    if was_supervised and not coloured:
        put("⟧")
    console.print()
