"""`compare`: the same data through several methods or settings, in one table."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tunesmith.api.gate import require_checks
from tunesmith.api.results import text_in
from tunesmith.api.settings import (
    Method,
    RunKeywords,
    holding,
    is_named,
    overrides_of,
    plain,
    require_alone,
    start_of,
)
from tunesmith.api.show import Document, Outcome, line, paragraph, print_table
from tunesmith.api.sources import Data
from tunesmith.api.train import Run
from tunesmith.api.work import GroupWork, OnRunEvent, working_on_runs
from tunesmith.config.load import Flags
from tunesmith.core import ranks
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import bytes_text, count_text, percent
from tunesmith.core.progress import Cancelled
from tunesmith.core.rank_work import by_first

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.studies.compared import ComparisonState
    from tunesmith.studies.variants import Variant

STOPPING = "stopping after this step; once more stops at once (the last checkpoints stay)"
# A column's title: the key of a run's row, and how its value is written.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "run": ("name", str),
    "method": ("method", str),
    "trained": ("trainable_parameters", count_text),
    "adapter": ("adapter_bytes", bytes_text),
    "peak": ("peak_bytes", bytes_text),
    "tokens/s": ("tokens_per_second", "{:,.0f}".format),
    "loss": ("train_loss", "{:.3f}".format),
    "held-out": ("eval_loss", "{:.3f}".format),
}
TITLES = (*COLUMNS, "score", "verdict")
NUMBERS = TITLES[2:-1]
BESIDE = ("tokens/s", "peak", "trained", "loss", "adapter", "held-out")  # the least telling first


@dataclass(frozen=True, slots=True)
class Comparison(Outcome):
    """Runs beside each other; ``notes`` has what was noticed, with the runs that it is true of."""

    found: "ComparisonState"
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def runs(self) -> dict[str, Run]:
        """Each run that has ended, by its name."""
        return {row.name: Run(row.summary) for row in self.found.rows if row.summary is not None}

    def evaluations(self) -> dict[str, Document | None]:
        """Each run's evaluate document; the error of one that failed, None for one to come."""
        return {
            row.name: {"error": row.error}
            if row.error is not None
            else row.summary.evaluation
            if row.summary
            else None
            for row in self.found.rows
        }

    @property
    def report(self) -> Path:
        """The page of the comparison."""
        return Path(str(self.found.to_json()["report"]))

    @property
    def is_stopped(self) -> bool:
        """Whether there is more to do."""
        return any(
            row.summary is None or row.summary.reason == "stopped" for row in self.found.rows
        )

    @property
    def is_good(self) -> bool:
        """Whether no run failed."""
        return not any(row.error is not None for row in self.found.rows)

    def show(self, console: "Console") -> None:
        """The table, the base's own score, what was noticed, and what failed or is unfinished."""
        document: Document = self.found.to_json()
        rows, words = [_cells(row) for row in document["runs"]], ("score", "verdict")
        print_table(console, TITLES, rows=rows, numbers=NUMBERS, words=words, beside=BESIDE)
        if document["base"]["score"] is not None:
            paragraph(console, f"base without training: {interval_text(document['base'])}")
        for model, score in document.get("bases", {}).items():
            if score["score"] is not None:
                paragraph(console, f"base {model} without training: {interval_text(score)}")
        for name, score in document.get("hosted", {}).items():
            if score["score"] is not None:
                paragraph(console, f"hosted model {name}: {interval_text(score)}")
        paragraph(
            console,
            "Score: the first check on held-out rows, with its 95 % interval. Runs that trained "
            "together share one peak and one speed. Verdict: was the fine-tune worth it?",
        )
        paragraph(console, text_in(document["best"]))
        for each in document["loss_against_rank"]:
            if text := text_in(each):
                paragraph(console, f"{', '.join(each['runs'])}: {text}")
        line(console, f"report: {document['report']}")
        for text, style in self._closing():
            paragraph(console, text, style=style)

    def _closing(self) -> Iterator[tuple[str, str | None]]:
        failed: dict[str, list[str]] = {}
        for row in self.found.rows:
            if row.error is not None:
                failed.setdefault(str(row.error), []).append(row.name)
        for error, names in failed.items():
            yield f"{', '.join(names)} failed: {error}", "red"
        for warning, runs in self.notes.items():
            yield f"note: {', '.join(runs)}: {warning}", None
        if failed:
            yield (
                f"Fix the cause, then try again what failed: {_again(self.found.out)}",
                None,
            )
        elif self.is_stopped:
            yield _continue(self.found.out), None


def compare(  # noqa: PLR0913  # what is compared, how, and who hears of it
    data: Data | None = None,
    *,
    methods: Sequence[Method] | None = None,
    grid: Mapping[str, Sequence[object]] | None = None,
    resume: str | Path | None = None,
    require_verdict: bool = False,
    on_event: OnRunEvent | None = None,
    progress: bool | None = None,
    **keywords: Unpack[RunKeywords],
) -> Comparison:
    """Train the same rows by several methods, or with each value of a grid, and compare.

    Adapters over one base train at the same time. ``methods``: names, settings objects or
    mappings (with a ``name`` where two share a kind); ``grid``: values by key, such as
    ``{"method.rank": [2, 8]}``; ``keywords`` hold for every run. ``on_event`` receives the name
    of a run and its event. ``require_verdict`` refuses runs that would have none. A run that fails
    keeps its row, and the others continue.

    Raises ConfigError and DataError for what cannot run, Cancelled after Ctrl-C with the
    comparison so far; ``compare(resume=OUT)`` resumes it.

    >>> ts.compare("rows.jsonl", methods=["lora", "prompt"])  # doctest: +SKIP
    """
    methods = methods or ()
    if resume is not None:
        from tunesmith.runs.inputs import require_comparison

        require_alone(resume, data, methods=methods, grid=grid, **keywords)
        require_comparison(Path(resume))
        with ranks.running():
            return _compared([], Path(resume), on_event=on_event, progress=progress)
    if not (methods or grid or keywords.get("config") or keywords.get("settings")):
        raise UsageError(
            "There is nothing to compare.",
            remedy="Give methods, such as lora and prompt, or a grid.",
        )
    with ranks.running(), holding(keywords) as given:
        found = overrides_of(data, given)
        overrides = Flags(found) if isinstance(found, Flags) else dict(found)
        variants, place = by_first(
            lambda: _variants(overrides, given.get("config"), methods, grid or {})
        )
        from tunesmith.runs.inputs import require_inputs
        from tunesmith.runs.own_folder import own_folder

        for variant in variants:
            named = is_named(keywords.get("model"))
            require_inputs(variant.config, is_named=named, is_new=False)
            if require_verdict:
                require_checks(variant.config)
        with own_folder(place, "comparison") as out:
            return _compared(variants, out, on_event=on_event, progress=progress)


def read_kinds(text: str) -> list[str]:
    """`lora, full` as names; UsageError where one is empty."""
    from tunesmith.studies import variants

    return variants.read_kinds(text)


def read_grid(words: Sequence[str]) -> dict[str, list[object]]:
    """`method.rank=2,8` of each word, as keys and values; UsageError for another form."""
    from tunesmith.studies import variants

    return variants.read_grid(words)


def _variants(
    overrides: dict[str, object],
    config: object,
    methods: Sequence[Method],
    grid: Mapping[str, Sequence[object]],
) -> "tuple[list[Variant], str | None]":
    """What is compared, and the folder that is given."""
    from tunesmith.studies.variants import load_variants

    out = overrides.pop("out", None)
    kinds = [method for method in methods if isinstance(method, str)]
    if len(kinds) < len(methods):
        listed = [plain(method) for method in methods]
        overrides["methods"] = [{"kind": m} if isinstance(m, str) else m for m in listed]
        kinds = []
    path, values = start_of(config, overrides)
    variants = load_variants(path, values, methods=kinds, grid=grid)
    given = out or variants[0].config.out
    return variants, str(given) if given else None


def _compared(
    variants: "list[Variant]",
    out: Path,
    *,
    on_event: OnRunEvent | None,
    progress: bool | None,
) -> Comparison:
    with working_on_runs(
        STOPPING, resume=_continue(out), on_event=on_event, progress=progress
    ) as work:
        from tunesmith.studies.compare import compare_runs, resume_comparison

        if variants:
            found = compare_runs(variants, out, work.progress_of)
        else:
            found = resume_comparison(out, work.progress_of)
        if ranks.is_first():
            draw_reports(found, work)
        comparison = Comparison(found, work.warnings)
    if comparison.is_good and comparison.is_stopped:
        raise Cancelled(_continue(out), comparison)
    return comparison


def draw_reports(found: "ComparisonState", work: GroupWork) -> None:
    """The page of each run that is done, and of all together."""
    from tunesmith.report.writing import draw_report
    from tunesmith.runs.summary import end_trackers

    for row in found.rows:
        if row.summary is not None and row.summary.reason != "stopped":
            draw_report(row.folder.path, lambda event, name=row.name: work.emit(name, event))  # type: ignore[misc]
            end_trackers(row.summary)
    draw_report(found.out, lambda event: work.emit("together", event))


def _again(out: Path) -> str:
    return f"tunesmith compare --resume {shlex.quote(str(out))}"


def _continue(out: Path) -> str:
    return f"To resume: {_again(out)}"


def _cells(row: Document) -> list[str]:
    cells = ["-" if row[key] is None else form(row[key]) for key, form in COLUMNS.values()]
    verdict = str(row["verdict"] or "-").replace("cannot-tell", "cannot tell")
    return [*cells, interval_text(row), verdict]


def interval_text(values: Document) -> str:
    """A score with its limits, from a JSON object that has them."""
    if values["score"] is None:
        return "-"
    return f"{percent(values['score'])} ({percent(values['low'])} to {percent(values['high'])})"
