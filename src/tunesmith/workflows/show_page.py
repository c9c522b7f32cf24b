"""Rows as a page to read, to print and to pass on: one HTML file that loads nothing."""

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby

from jinja2 import Environment, StrictUndefined

from tunesmith.counts import many
from tunesmith.data.show import ShownRow

PAGE = "pages/rows.html.jinja"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # not allowed in HTML, whatever the escape
VISIBLE = "\N{SYMBOL FOR ESCAPE}"


def show_page(
    rows: Sequence[ShownRow],
    *,
    file: str,
    model: str,
    remarks: Sequence[str] = (),
    by_token: bool = False,
) -> str:
    """The page: what is trained is marked, a cut is shown where a run would make one."""
    source = files("tunesmith.workflows").joinpath(PAGE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(source).render(
        rows=[_row(row, by_token=by_token) for row in rows],
        file=file,
        model=model,
        remarks=remarks,
        by_token=by_token,
        is_cut=any(row.cut is not None for row in rows),
    )


def _row(row: ShownRow, *, by_token: bool) -> dict[str, object]:
    return {
        "file": row.file,
        "line": row.line,
        "tokens": f"{row.tokens:,}",
        "supervised": f"{row.supervised_tokens:,}",
        "cut_note": f"cut here: {many(row.limit, 'token')} of {row.tokens:,}",
        "parts": list(_parts(row, by_token=by_token)),
    }


def _parts(row: ShownRow, *, by_token: bool) -> Iterator[dict[str, object]]:
    """Runs of pieces of one kind, token by token inside where that is asked for."""
    was_cut = False
    pieces = row.pieces(by_token=by_token)
    for (supervised, is_cut), run in groupby(pieces, key=lambda p: (p.supervised, p.is_cut)):
        yield {
            "supervised": supervised,
            "is_cut": is_cut,
            "cut_here": is_cut and not was_cut,
            "texts": [CONTROL.sub(VISIBLE, piece.text) for piece in run],
        }
        was_cut = is_cut
