"""`search`: the best settings within a time, with what they rest on."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tunesmith.api.compare import interval_text
from tunesmith.api.settings import RunKeywords, config_unless, is_named, require_alone
from tunesmith.api.show import Document, Outcome, line, paragraph, print_table, show_next
from tunesmith.api.sources import Data
from tunesmith.api.train import Run
from tunesmith.api.work import OnRunEvent, working_on_runs
from tunesmith.core.numbers import percent, pluralize
from tunesmith.core.progress import Cancelled

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.run import RunConfig
    from tunesmith.studies.search_state import SearchState

MINUTES = 30.0
STOPPING = "stopping after this step; once more stops at once (the last checkpoints stay)"
TITLES = ("setting", "values", "state", "steps", "loss", "score")
NUMBERS = ("steps", "loss", "score")


@dataclass(frozen=True, slots=True)
class Search(Outcome):
    """All settings that were tried, the best of them, and its evaluation."""

    found: "SearchState"
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def config(self) -> "RunConfig | None":
        """The best settings; so far, of a search that was stopped. None before any loss."""
        leader = self.found.leader
        return None if leader is None else self.found.config_of(leader)

    @property
    def config_file(self) -> Path:
        """The same as a file for `tunesmith train`."""
        return Path(str(self.found.to_json()["config"]))

    @property
    def run(self) -> Run | None:
        """The run of the best, evaluated; None for a search that was stopped."""
        return None if self.found.summary is None else Run(self.found.summary)

    def evaluations(self) -> dict[str, Document | None]:
        """The evaluate document of the best."""
        leader, summary = self.found.leader, self.found.summary
        name = "" if leader is None else leader.name
        return {name: summary.evaluation if summary else None}

    def show(self, console: "Console") -> None:
        """Each setting, the best first; then its evaluation, and what comes next."""
        document: Document = self.found.to_json()
        order = {"done": 0, "running": 1, "stopped": 2, "failed": 3}

        def rank(row: Document) -> tuple[object, ...]:
            loss = row["eval_loss"]
            return row["name"] != document["best"], order[row["state"]], loss is None, loss or 0.0

        rows = [_cells(row) for row in sorted(document["settings"], key=rank)]
        print_table(console, TITLES, rows=rows, numbers=NUMBERS, words=("state",))
        chosen = pluralize(document["choosing_rows"], "held-out row")
        paragraph(console, f"Loss and score: of the {chosen} that choose, at the best checkpoint.")
        if document["best"] is not None:
            line(console, f"{document['best']} is the best.", style="bold")
        if document["score"]["score"] is not None:
            scored, score = pluralize(document["scored_rows"], "row"), document["score"]
            paragraph(
                console,
                f"score on {scored} that the search never saw: {interval_text(score)}",
                style="bold",
            )
            paragraph(console, f"base without training: {interval_text(document['base'])}")
        for row in document["settings"]:
            if row["error"]:
                paragraph(console, f"{row['name']} failed: {row['error']}", style="red")
        for warning in self.notes:
            paragraph(console, f"note: {warning}")
        if not document["is_finished"]:
            paragraph(console, _continue(self.found.out))
            return
        line(console, f"adapter: {document['adapter']}")
        line(console, f"config: {document['config']}")
        run = shlex.quote(str(Path(str(document["adapter"])).parent))
        again = f"tunesmith train {shlex.quote(document['config'])} --out NEW_FOLDER"
        show_next(console, [f"tunesmith chat {run}", f"tunesmith report {run}", again])


def search(
    data: Data | None = None,
    *,
    over: Mapping[str, object] | None = None,
    at_most: int | None = None,
    resume: str | Path | None = None,
    on_event: OnRunEvent | None = None,
    progress: bool | None = None,
    **keywords: Unpack[RunKeywords],
) -> Search:
    """Find the best settings of a run in about so many ``minutes`` (30), its evaluation included.

    ``over``: what is varied by its key, a pair (low, high) or a list; without it the learning rate
    and what the method offers (rank and targets, or virtual tokens). Adapters train together, those
    behind stop early. A part of the held-out rows chooses (`data.validation`, 0.5), the others
    evaluate it. ``at_most``: so many settings. ``on_event`` receives a setting's name and event.

    Raises ConfigError and DataError for what cannot be searched, Cancelled after Ctrl-C with the
    best so far in ``result``; ``search(resume=OUT)`` resumes. Needs the extra `search`.

    >>> ts.search("rows.jsonl", minutes=30, over={"train.lr": (1e-4, 1e-2)})  # doctest: +SKIP
    """
    minutes = keywords.pop("minutes", None)
    if resume is not None:
        require_alone(resume, data, minutes=minutes, over=over, at_most=at_most)
    minutes = MINUTES if minutes is None else minutes
    with config_unless(resume, data, keywords) as config:
        from tunesmith.runs.inputs import require_inputs, require_search
        from tunesmith.runs.own_folder import own_folder

        if config is None:
            require_search(Path(str(resume)))
        else:
            require_inputs(config, is_named=is_named(keywords.get("model")), is_new=False)
        # Heavy modules are imported after everything that can refuse at once.
        from tunesmith.studies.search import resume_search, search_settings

        given = resume if config is None else config.out
        with (
            own_folder(given, "search") as out,
            working_on_runs(
                STOPPING, resume=_continue(out), on_event=on_event, progress=progress
            ) as work,
        ):
            hear = work.progress_of
            try:
                if config is None:
                    found = resume_search(out, hear)
                else:
                    found = search_settings(
                        config, out, hear, over=over, minutes=minutes, most=at_most
                    )
            except Cancelled as cancelled:
                raise Cancelled(_continue(out), _stopped(cancelled, work.warnings)) from None
            _draw(found, work.emit)
    return Search(found, work.warnings)


def _stopped(cancelled: Cancelled, notes: Mapping[str, Sequence[str]]) -> Search | None:
    return None if cancelled.result is None else Search(cancelled.result, notes)


def _draw(found: "SearchState", emit: OnRunEvent) -> None:
    """The page of the best run."""
    from tunesmith.report.writing import draw_report
    from tunesmith.runs.summary import end_trackers

    leader = found.leader
    if leader is not None and found.summary is not None:
        draw_report(found.folder(leader).path, lambda event: emit(leader.name, event))
        end_trackers(found.summary)


def _cells(row: Document) -> list[str]:
    values = ", ".join(f"{key.rpartition('.')[2]} {_plain(v)}" for key, v in row["values"].items())
    loss = "-" if row["eval_loss"] is None else f"{row['eval_loss']:.4f}"
    score = "-" if row["score"] is None else percent(row["score"])
    return [row["name"], values, row["state"], f"{row['steps']:,}", loss, score]


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _continue(out: Path) -> str:
    return f"To resume: tunesmith search --resume {shlex.quote(str(out))}"


def read_over(words: Sequence[str]) -> dict[str, object]:
    """`KEY=LOW..HIGH` or `KEY=V,V` of each word, as ``over`` takes them; UsageError otherwise."""
    from tunesmith.studies import search_space

    return search_space.read_over(words)
