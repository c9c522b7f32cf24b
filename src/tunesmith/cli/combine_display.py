"""What `adapters conflicts` and `adapters merge` show: the verdict, layers by depth, scores."""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.cli.command import Outcome, refuse
from tunesmith.cli.console import harmless, print_table, results
from tunesmith.cli.results import difference_text, score_cell
from tunesmith.core.numbers import bytes_text, percent

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.adapters.conflicts import Conflict
    from tunesmith.studies.conflicts import Found, Pair
    from tunesmith.studies.merge import Merged, NothingKeepsAll, Trial

MEASURES = ("cosine", "signs oppose", "in shared", "out shared", "by chance", "norms")
MOST_BANDS = 12  # lines of a table of layers: with the rest it fits a terminal


def show_conflicts(found: "Found", page: Path | None, console: "Console") -> None:
    """The verdict first, then each pair by depth, then the scores."""
    console.print(harmless(found.verdict.text), soft_wrap=True)
    for pair in found.pairs:
        console.print(harmless(f"\n{pair.a} and {pair.b}"), style="bold", soft_wrap=True)
        print_table(console, ("layers", *MEASURES), rows=_bands(pair), numbers=MEASURES)
        for name, layers in ((pair.a, pair.found.only_first), (pair.b, pair.found.only_second)):
            if layers:
                console.print(harmless(f"only {name} has {_few(layers)}"), soft_wrap=True)
    if found.trial is not None:
        console.print()
        show_trial(found.trial, console)
    for name, why in found.left_out.items():
        console.print(harmless(f"{name} was not measured: {why}"), soft_wrap=True)
    if page is not None:
        console.print(f"page: {page}", soft_wrap=True)


def _bands(pair: "Pair") -> Iterator[list[str]]:
    from tunesmith.adapters.conflicts import bands

    for band in bands(list(pair.found.layers), most=MOST_BANDS):
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
    from tunesmith.evaluation.arms import BASE
    from tunesmith.studies.trials import ALONE

    names = [each.task for each in trial.scores]
    titles = ("combination", "rank", "error", *names, "worst change")
    rows = [
        [{BASE: "(base)", ALONE: "(each alone)"}[arm], "", "", *_scores(trial, arm), ""]
        for arm in (BASE, ALONE)
    ]
    for each in trial.candidates:
        rank, error = max(each.made.ranks.values()), each.made.errors.overall
        _, drop = trial.worst(each.way.name)
        worst = difference_text({"mean": -drop.mean, "low": -drop.high, "high": -drop.low})
        told = [each.way.name, f"{rank:,}", percent(error)]
        rows.append([*told, *_scores(trial, each.way.name), worst])
    print_table(console, titles, rows=rows, numbers=titles[1:])
    checks = ", ".join(f"{each.task} by `{each.check}`" for each in trial.scores)
    legend = "held-out rows, with 95 % intervals; error: what the rank loses"
    console.print(harmless(f"{checks}; {legend}"), soft_wrap=True)


def _scores(trial: "Trial", arm: str) -> Iterator[str]:
    for task in trial.scores:
        found = task.arms.get(arm)
        values = {"score": found.mean, "low": found.low, "high": found.high} if found else {}
        yield score_cell(values)


def show_merged(merged: "Merged", console: "Console") -> None:
    """What was tried, what was taken, what its rank loses, and where it is."""
    if merged.trial is not None:
        show_trial(merged.trial, console)
    made = merged.candidate.made
    console.print(
        harmless(
            f"{merged.candidate.way.name}: rank {max(made.ranks.values()):,}, "
            f"{bytes_text(made.bytes)}; stored with an error of {percent(made.errors.overall, 2)} "
            f"(||D - s B A|| / ||D||), of {percent(max(made.errors.layers.values()), 2)} at most "
            "in a layer"
        ),
        soft_wrap=True,
    )
    console.print(f"written: {merged.out}", soft_wrap=True)
    console.print(f"next: {shlex.join(['tunesmith', 'chat', str(merged.out)])}", soft_wrap=True)


def refused(refusal: "NothingKeepsAll") -> Outcome:
    """A refusal with the figures that it is made of."""
    fault = {"code": refusal.code, "message": refusal.message, "remedy": refusal.remedy}

    def show(_: "Console") -> None:
        show_trial(refusal.trial, results())
        refuse(refusal, as_json=False)

    document = {"error": fault, **refusal.trial.to_json()}
    return Outcome(document, show=show, exit_status=refusal.exit_status)
