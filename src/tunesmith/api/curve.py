"""`curve`: would more data help? Runs on growing shares of the rows, compared."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tunesmith.api.compare import STOPPING, draw_reports, interval_text
from tunesmith.api.settings import RunKeywords, config_unless, is_named, require_alone
from tunesmith.api.show import Document, Outcome, paragraph, print_table
from tunesmith.api.sources import Data
from tunesmith.api.work import OnRunEvent, working_on_runs
from tunesmith.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.studies.curve import LearningCurve

TITLES = ("training rows", "held-out loss", "score")
SHARES = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Curve(Outcome):
    """The held-out loss by number of training rows, and whether more rows would lower it."""

    found: "LearningCurve"

    @property
    def verdict(self) -> str:
        """`yes`, `no` or `cannot tell`, with the reason."""
        return self.found.verdict.text

    def show(self, console: "Console") -> None:
        """The points, then the verdict."""
        document: Document = self.found.to_json()
        points = document["points"]
        rows = [(f"{p['rows']:,}", f"{p['loss']:.4f}", interval_text(p)) for p in points]
        print_table(console, TITLES, rows=rows, numbers=TITLES, words=("score",))
        paragraph(console, self.found.verdict.text, style="bold")


def curve(
    data: Data | None = None,
    *,
    shares: Sequence[float] | None = None,
    resume: str | Path | None = None,
    on_event: OnRunEvent | None = None,
    progress: bool | None = None,
    **keywords: Unpack[RunKeywords],
) -> Curve:
    """Train adapters on each of the ``shares`` of the rows together, and compare them.

    Smaller shares are parts of larger ones; all runs take the same steps and see the same held-out
    rows. Raises ConfigError for a method without adapters, DataError without held-out rows,
    Cancelled after Ctrl-C; ``curve(resume=OUT)`` resumes.

    >>> ts.curve("rows.jsonl", shares=[0.25, 0.5, 1])  # doctest: +SKIP
    """
    if resume is not None:
        require_alone(resume, data, shares=shares)
    shares = SHARES if shares is None else shares
    _require_shares(shares)
    with config_unless(resume, data, keywords) as config:
        from tunesmith.runs.inputs import require_comparison, require_inputs
        from tunesmith.runs.own_folder import own_folder

        if config is None:
            require_comparison(Path(str(resume)))
        else:
            require_inputs(config, is_named=is_named(keywords.get("model")), is_new=False)
        # Heavy modules are imported after everything that can refuse at once.
        from tunesmith.studies.curve import learning_curve, resume_curve

        given = resume if config is None else config.out
        with (
            own_folder(given, "curve") as out,
            working_on_runs(
                STOPPING, resume=_continue(out), on_event=on_event, progress=progress
            ) as work,
        ):
            if config is None:
                found = resume_curve(out, work.progress_of)
            else:
                found = learning_curve(config, out, work.progress_of, shares=shares)
            draw_reports(found.comparison, work)
    return Curve(found)


def _require_shares(shares: Sequence[float]) -> None:
    """Two or more different shares above 0 and at most 1."""
    is_fine = len(set(shares)) == len(shares) >= 2 and all(0 < share <= 1 for share in shares)
    if not is_fine:
        raise UsageError(
            f"Shares {', '.join(f'{share:g}' for share in shares)}: two or more different shares "
            "above 0 and at most 1 are compared.",
            remedy="Give such as 0.25, 0.5 and 1.",
        )


def _continue(out: Path) -> str:
    return f"To resume: tunesmith data curve --resume {shlex.quote(str(out))}"
