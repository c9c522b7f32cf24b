"""`conflicts` and `merge`: what clashes between adapters, and several merged into one."""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tunesmith.api.load import AdapterGiven, place_of
from tunesmith.api.results import difference_text, score_cell
from tunesmith.api.show import Outcome, line, print_table
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import AdapterError, UsageError
from tunesmith.core.numbers import bytes_text, percent

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.adapters.conflicts import Conflict
    from tunesmith.studies.conflicts import ConflictReport, Pair
    from tunesmith.studies.merge import Merged as Made
    from tunesmith.studies.merge import NothingKeepsAll, Trial

STOPPED = "Stopped; nothing is written, answers are kept."
MEASURES = ("cosine", "signs oppose", "in shared", "out shared", "by chance", "norms")
MAX_BANDS = 12  # lines of a table of layers: with the rest it fits a terminal
ROWS, MAX_DROP = 100, 10.0
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class ConflictsFound(Outcome):
    """What clashes between adapters, in their weights and in their answers."""

    found: "ConflictReport"
    page: Path | None = None

    @property
    def verdict(self) -> str:
        """In plain words."""
        return self.found.verdict.text

    def to_json(self) -> dict[str, object]:
        """What `adapters conflicts --json` prints."""
        document = self.found.to_json()
        return document if self.page is None else {**document, "page": str(self.page)}

    def show(self, console: "Console") -> None:
        """The verdict first, then each pair by depth, then the scores."""
        found, page = self.found, self.page
        line(console, found.verdict.text)
        for pair in found.pairs:
            line(console, f"\n{pair.a}, {pair.b}", style="bold")
            print_table(console, ("layers", *MEASURES), rows=_bands(pair), numbers=MEASURES)
            for name, layers in ((pair.a, pair.found.only_first), (pair.b, pair.found.only_second)):
                if layers:
                    line(console, f"only {name} has {_few(layers)}")
        if found.trial is not None:
            console.print()
            show_trial(found.trial, console)
        for name, why in found.left_out.items():
            line(console, f"{name} was not measured: {why}")
        if page is not None:
            line(console, f"page: {page}")


def conflicts(  # noqa: PLR0913  # one keyword for each setting
    adapters: Sequence[AdapterGiven],
    *,
    scores: bool | None = None,
    rows: int = ROWS,
    page: str | Path | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> ConflictsFound:
    """What clashes between adapters: layer by layer in their weights, and in what they answer.

    ``scores``: merge them by every method and measure what each costs on at most ``rows`` held-out
    rows; None: where an adapter lies in a run with checks and held-out rows. ``page``: an HTML file
    with all of it. ``force``: bases of which the names alone differ are the same one. Raises
    AdapterError for different bases, Cancelled after Ctrl-C.

    >>> ts.conflicts(["runs/a", "runs/b"]).verdict  # doctest: +SKIP
    """
    if len(adapters) < 2:
        raise UsageError(
            "One adapter is named: it has nothing to clash with.", remedy="Name another one."
        )
    from tunesmith.runs.locate import adapter_folders

    adapter_folders([str(place_of(each)) for each in adapters])
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.report.writing import write_page
    from tunesmith.studies.conflicts import find_conflicts
    from tunesmith.studies.merge import named

    with working(stopped=STOPPED, on_event=on_event, progress=progress) as work:
        wanted = named([str(place_of(each)) for each in adapters], force=force)
        found = find_conflicts(wanted, scores=scores, rows=rows, progress=work.progress)
    written = None if page is None else write_page(found.to_json(), Path(page))
    return ConflictsFound(found, written)


def _bands(pair: "Pair") -> Iterator[list[str]]:
    from tunesmith.adapters.conflicts import bands

    for band in bands(list(pair.found.layers), limit=MAX_BANDS):
        yield [band.name, *_cells(pair.found.together(band.layers))]
    yield ["all", *_cells(pair.found.overall)]


def _cells(conflict: "Conflict") -> list[str]:
    if math.isnan(conflict.cosine):  # one of them changes nothing there
        return ["-"] * len(MEASURES)
    shares = (
        conflict.sign_conflict,
        conflict.input_overlap,
        conflict.output_overlap,
        conflict.chance,
    )
    return [f"{conflict.cosine:+.3f}", *map(percent, shares), f"{conflict.norm_ratio:.2f}"]


def _few(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - 2:,} more" if len(layers) > 2 else ""
    return ", ".join(layers[:2]) + more


def show_trial(trial: "Trial", console: "Console") -> None:
    """A line for each arm: every task's score, and how the worst one changes."""
    from tunesmith.evaluation.comparison import BASE
    from tunesmith.studies.tasks import ALONE

    names = [each.task for each in trial.scores]
    titles = ("combination", "rank", "error", *names, "worst change")
    rows = [
        [{BASE: "(base)", ALONE: "(each alone)"}[arm], "", "", *_scores(trial, arm), ""]
        for arm in (BASE, ALONE)
    ]
    for each in trial.candidates:
        rank, error = max(each.made.ranks.values()), each.made.errors.overall
        _, drop = trial.worst(each.recipe.name)
        worst = difference_text({"mean": -drop.mean, "low": -drop.high, "high": -drop.low})
        cells = [each.recipe.name, f"{rank:,}", percent(error)]
        rows.append([*cells, *_scores(trial, each.recipe.name), worst])
    words = ("combination", "worst change")
    print_table(console, titles, rows=rows, numbers=titles[1:], words=words)
    checks = ", ".join(f"{each.task} by `{each.check}`" for each in trial.scores)
    legend = "held-out rows, with 95 % intervals; error: what the rank loses"
    line(console, f"{checks}; {legend}")


def _scores(trial: "Trial", arm: str) -> Iterator[str]:
    for task in trial.scores:
        found = task.arms.get(arm)
        values = {"score": found.mean, "low": found.low, "high": found.high} if found else {}
        yield score_cell(values)


@dataclass(frozen=True, slots=True)
class Tried(Outcome):
    """What every combination that was tried costs each adapter."""

    trial: "Trial"

    def to_json(self) -> dict[str, object]:
        """The combinations with their worst drops, and the scores."""
        return self.trial.to_json()

    def show(self, console: "Console") -> None:
        """A line for each."""
        show_trial(self.trial, console)


class MergeRefused(AdapterError):
    """Every combination costs an adapter more than is allowed; ``details`` has the figures."""

    def __init__(self, refusal: "NothingKeepsAll") -> None:
        super().__init__(refusal.message, remedy=refusal.remedy, code=refusal.code)
        self.details = Tried(refusal.trial)


@dataclass(frozen=True, slots=True)
class MergedAdapter(Outcome):
    """The adapter that several became, and what its rank loses of their sum."""

    found: "Made"

    @property
    def out(self) -> Path:
        """The adapter's folder."""
        return self.found.out

    def show(self, console: "Console") -> None:
        """What was tried, what was taken, and where it is."""
        merged = self.found
        if merged.trial is not None:
            show_trial(merged.trial, console)
        made = merged.candidate.made
        errors = made.errors
        line(
            console,
            f"{merged.candidate.recipe.name}: rank {max(made.ranks.values()):,}, "
            f"{bytes_text(made.bytes)}; stored with an error of {percent(errors.overall, 2)} "
            f"(||D - s B A|| / ||D||), of {percent(max(errors.layers.values()), 2)} at most "
            "in a layer",
        )
        if merged.advice is not None:
            line(console, merged.advice, style="yellow")
        line(console, f"written: {merged.out}")
        line(console, f"next: {shlex.join(['tunesmith', 'chat', str(merged.out)])}")


def merge(  # noqa: PLR0913  # one keyword for each setting
    adapters: Sequence[AdapterGiven],
    out: str | Path,
    *,
    method: str | None = None,
    auto: bool = False,
    weights: Sequence[float] = (),
    density: Sequence[float] | float = (),
    rank: Sequence[int] | int = (),
    seed: int = 0,
    rows: int = ROWS,
    max_drop: float = MAX_DROP,
    force: bool = False,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> MergedAdapter:
    """Adapters of one base, made one in the new folder ``out``: a LoRA in PEFT's format.

    ``method``: linear, magnitude, ties, dare, dare-ties, sce or knots. ``auto``: the methods are
    tried on at most ``rows`` held-out rows of the runs, and the one is taken whose worst drop is
    smallest; what costs an adapter more than ``max_drop`` points is refused. ``density`` (share of
    entries kept) and ``rank`` may then be several. Raises AdapterError for different bases, or a
    refusal with the figures of all that was tried; Cancelled after Ctrl-C.

    >>> ts.merge(["runs/a", "runs/b"], "both", method="ties")  # doctest: +SKIP
    """
    from tunesmith.runs.locate import adapter_folders

    words = [str(place_of(each)) for each in adapters]
    _require_one_recipe(words, method, auto=auto)
    adapter_folders(words)
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.studies.merge import NothingKeepsAll, combine, combine_best, named

    densities = [density] if isinstance(density, float | int) else list(density)
    ranks = [rank] if isinstance(rank, int) else list(rank)
    wanted = named(words, weights, seed=seed, force=force)
    with working(stopped=STOPPED, on_event=on_event, progress=progress) as work:
        if not auto:
            one, limit = _only("density", densities), _only("rank", ranks)
            return MergedAdapter(
                combine(
                    wanted,
                    Path(out),
                    kind=method or "linear",
                    density=one,
                    rank=limit,
                    progress=work.progress,
                )
            )
        try:
            made = combine_best(
                wanted,
                Path(out),
                densities=densities,
                ranks=ranks,
                rows=rows,
                max_drop=max_drop,
                progress=work.progress,
            )
        except NothingKeepsAll as refusal:
            raise MergeRefused(refusal) from None
    return MergedAdapter(made)


def _require_one_recipe(adapters: Sequence[str], method: str | None, *, auto: bool) -> None:
    """A single adapter needs no method: all give it as it is."""
    if auto and method is not None:
        raise UsageError("auto chooses the method: leave out method, or auto.")
    if not auto and method is None and len(adapters) > 1:
        raise UsageError(
            "How are they combined?",
            remedy="Give auto, which measures all methods, or name one, as in method ties.",
        )


def _only(name: str, values: "Sequence[_Number]") -> "_Number | None":
    if len(values) > 1:
        raise UsageError(f"{name} has several values: only auto can choose among them.")
    return values[0] if values else None
