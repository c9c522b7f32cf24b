"""Which of several runs is the one to keep? Scores and costs side by side, in one HTML file."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import RunError
from tunesmith.core.language import DEFAULT
from tunesmith.core.numbers import bytes_text, clock, limits_text, percent
from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.findings import text_in, words_in
from tunesmith.evaluation.plain_verdict import plain_text
from tunesmith.report.page import PHRASES, Section, page
from tunesmith.report.plot import (
    COLOURS,
    Bar,
    Plot,
    draw_svg,
    interval_svg,
    listed,
    log_scale_,
    score_bar,
)
from tunesmith.report.run_page import is_unfinished, unfinished
from tunesmith.report.score_charts import HOSTED
from tunesmith.runs.history import Document, Records, read_records
from tunesmith.runs.inputs import COMPARISON

if TYPE_CHECKING:
    from matplotlib.axes import Axes


HEIGHT = 3.2
ABOVE, BELOW = 4, -12  # points
LOGARITHMIC = "adapter_bytes"  # a soft prompt and a whole model are four orders apart
COSTS: Mapping[str, tuple[float, str]] = {  # of a cost: its unit, and how it is written
    "peak_bytes": (1e9, ".2f"),
    "seconds": (60, ".1f"),
    "adapter_bytes": (1e6, ",.2f"),
    "perplexity": (0.01, "+.1f"),
}


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """One run: its score as a share with limits, and what it cost, as far as it is known."""

    name: str
    score: float
    low: float
    high: float
    costs: Mapping[str, float]


def pareto_plots(points: Sequence[ParetoPoint], words: Phrases) -> Iterator[Plot]:
    """One plot for each cost that two runs or more have; the best at its price is filled."""
    for cost in COSTS:
        known = [point for point in points if cost in point.costs]
        if len(known) > 1:
            yield _plot(cost, known, words)


def best_at_its_price(points: Sequence[ParetoPoint], cost: str) -> set[str]:
    """Names of the runs that no other one beats in score at the same cost or less."""
    return {
        one.name
        for one in points
        if not any(
            other.score >= one.score
            and other.costs[cost] <= one.costs[cost]
            and (other.score, -other.costs[cost]) != (one.score, -one.costs[cost])
            for other in points
        )
    }


def _plot(cost: str, points: Sequence[ParetoPoint], words: Phrases) -> Plot:
    unit, form = COSTS[cost]
    best = best_at_its_price(points, cost)
    name = _name(cost)
    ordered = sorted(points, key=lambda point: point.costs[cost])
    return Plot(
        name=name,
        title=words.phrase(f"{name}.title"),
        note=words.phrase("pareto.note"),
        svg=draw_svg(_drawing(cost, ordered, best, words), height=HEIGHT, name=name),
        alt=words.phrase("pareto.alt", list=", ".join(sorted(best))),
        header=[
            words.phrase(key)
            for key in ("column.run", f"{name}.axis", "column.score", "column.interval")
        ],
        rows=[
            (
                point.name,
                format(point.costs[cost] / unit, form),
                percent(point.score),
                limits_text(point.low, point.high),
            )
            for point in ordered
        ],
    )


def _name(cost: str) -> str:
    return f"pareto-{cost.replace('_', '-')}"


def _drawing(
    cost: str, points: Sequence[ParetoPoint], best: set[str], words: Phrases
) -> Callable[["Axes"], None]:
    def draw(axes: "Axes") -> None:
        colour = COLOURS["tuned"]
        for i, point in enumerate(points):
            x, y = point.costs[cost] / COSTS[cost][0], 100 * point.score
            axes.plot([x, x], [100 * point.low, 100 * point.high], color=COLOURS["base"], lw=1.5)
            filled = colour if point.name in best else "none"
            axes.plot(
                [x], [y], marker="o", markersize=8, markerfacecolor=filled, markeredgecolor=colour
            )
            beside = (7, BELOW if i % 2 else ABOVE)  # neighbours are named on different sides
            axes.annotate(point.name, (x, y), xytext=beside, textcoords="offset points")
        axes.set_xlabel(words.phrase(f"{_name(cost)}.axis"))
        axes.set_ylabel(words.phrase("pareto.score"))
        if cost == LOGARITHMIC:
            log_scale_(axes, "x")
        axes.margins(x=0.15)

    return draw


COLUMNS = ("run", "method", "score", "interval", "loss", "time", "memory", "bytes", "trained")


def is_comparison(path: Path) -> bool:
    """Whether a folder holds several runs that were compared."""
    return (path / COMPARISON).is_file()


def comparison_page(path: Path, *, language: str = DEFAULT) -> str:
    """The page of a comparison. Raises RunError where it cannot be read."""
    words = Phrases(PHRASES, language)
    try:
        document = json.loads((path / COMPARISON).read_text(encoding="utf-8"))
        runs: Sequence[Document] = document["runs"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path} holds no finished comparison: {error}.",
            remedy=f"Resume it: `tunesmith compare --resume {path}`.",
        ) from None
    records = {str(run["name"]): read_records(path / str(run["name"])) for run in runs}
    points = list(_points(runs, records))
    first = next(iter(records.values()), None)
    return page(
        "comparison.html.jinja",
        words,
        title=words.phrase("comparison-title", name=path.resolve().name),
        goal=first.config.get("goal") if first else None,
        sections=[s for s in _sections(document, points, words) if s.has_content],
        header=[words.phrase(f"column.{key}") for key in COLUMNS],
        rows=[_row(run, records[str(run["name"])], words) for run in runs],
        verdicts=[
            (name, _answer(records[name]), _plain(records[name], words), text)
            for run in runs
            for name, text in [(str(run["name"]), _verdict(records, run, words))]
        ],
        commands="\n".join(_commands(path, records)),
    )


def _commands(path: Path, records: Mapping[str, Records]) -> Iterator[str]:
    if any(is_unfinished(each) for each in records.values()):
        yield f"tunesmith compare --resume {shlex.quote(str(path))}"
    for each in records.values():
        yield f"tunesmith report {shlex.quote(str(each.path))}"


def _answer(records: Records) -> str:
    return str((records.evaluation.get("verdict") or {}).get("answer", "none"))


def _plain(records: Records, words: Phrases) -> str:
    return plain_text(records.evaluation, words_in(words.language))


def _verdict(records: Mapping[str, Records], run: Document, words: Phrases) -> str:
    own = records[str(run["name"])]
    said = text_in(own.evaluation.get("verdict"), words.language) or str(run.get("error") or "")
    if said or not is_unfinished(own):
        return said
    folder = shlex.quote(str(own.path.parent))
    return unfinished(own, f"tunesmith compare --resume {folder}", words)


def _points(runs: Sequence[Document], records: Mapping[str, Records]) -> Iterator[ParetoPoint]:
    for run in runs:
        if run.get("score") is None:
            continue
        own = records[str(run["name"])]
        costs = {key: run.get(key) for key in ("peak_bytes", "adapter_bytes")}
        costs["seconds"] = _training_seconds(own.summary)
        costs["perplexity"] = next(
            (
                each["difference"]
                for each in own.evaluation.get("forgetting") or ()
                if each["measure"] == "perplexity"
            ),
            None,
        )
        known = {key: float(value) for key, value in costs.items() if value is not None}
        yield ParetoPoint(str(run["name"]), run["score"], run["low"], run["high"], known)


def _sections(
    document: Document, points: Sequence[ParetoPoint], words: Phrases
) -> Iterator[Section]:
    best = text_in(document.get("best"), words.language)
    yield Section(
        "result", [_scores(document, points, words)] if points else [], [best] if best else []
    )
    yield Section("costs", list(pareto_plots(points, words)))
    ranks = document.get("loss_against_rank") or ()
    texts = ((each["runs"], text_in(each, words.language)) for each in ranks)
    yield Section("ranks", [], [f"{', '.join(runs)}: {text}" for runs, text in texts if text])


def _scores(document: Document, points: Sequence[ParetoPoint], words: Phrases) -> Plot:
    bars = [Bar(p.name, p.score, p.low, p.high, "tuned") for p in points]
    base = document.get("base") or {}
    if base.get("score") is not None:
        bars.append(score_bar(words.phrase("arm.base"), base, "base"))
    for kind, key in (("base", "bases"), (HOSTED, "hosted")):
        for name, score in (document.get(key) or {}).items():
            if score.get("score") is not None:
                bars.append(score_bar(name, score, kind))
    return Plot(
        name="scores",
        title=words.phrase("scores.title"),
        svg=interval_svg("scores", bars, axis=words.phrase("arms.axis")),
        alt=words.phrase("scores.alt", list=listed(bars)),
    )


def _training_seconds(summary: Document) -> float | None:
    """What the steps of a run take by themselves; runs that train together end together."""
    tokens, rate = summary.get("tokens"), summary.get("tokens_per_second")
    return tokens / rate if tokens and rate else None


def _row(run: Document, records: Records, words: Phrases) -> tuple[str, ...]:
    def known(key: str, form: Any) -> str:
        return "" if run.get(key) is None else str(form(run[key]))

    size = partial(bytes_text, on_page=True)
    return (
        str(run["name"]),
        str(run.get("method")),
        known("score", percent) if not run.get("error") else words.phrase("scores.failed"),
        limits_text(run["low"], run["high"]) if run.get("low") is not None else "",
        known("eval_loss", "{:.3f}".format),
        clock(seconds) if (seconds := _training_seconds(records.summary)) is not None else "",
        known("peak_bytes", size),
        known("adapter_bytes", size),
        known("trainable_parameters", "{:,}".format),
    )
