"""What a better score costs: each run's score against its memory, time, bytes and forgetting."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.counts import percent
from tunesmith.report.charts.plot import Plot
from tunesmith.report.charts.scales import log_scale_
from tunesmith.report.svg import COLOURS, drawn
from tunesmith.words import Words

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
class Point:
    """One run: its score as a share with limits, and what it cost, as far as it is known."""

    name: str
    score: float
    low: float
    high: float
    costs: Mapping[str, float]


def pareto_plots(points: Sequence[Point], words: Words) -> Iterator[Plot]:
    """One plot for each cost that two runs or more have; the best at its price is filled."""
    for cost in COSTS:
        known = [point for point in points if cost in point.costs]
        if len(known) > 1:
            yield _plot(cost, known, words)


def best_at_its_price(points: Sequence[Point], cost: str) -> set[str]:
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


def _plot(cost: str, points: Sequence[Point], words: Words) -> Plot:
    unit, form = COSTS[cost]
    best = best_at_its_price(points, cost)
    name = _name(cost)
    ordered = sorted(points, key=lambda point: point.costs[cost])

    return Plot(
        name=name,
        title=words.say(f"{name}.title"),
        note=words.say("pareto.note"),
        svg=drawn(_drawing(cost, ordered, best, words), height=HEIGHT, name=name),
        alt=words.say("pareto.alt", list=", ".join(sorted(best))),
        header=[
            words.say("column.run"),
            words.say(f"{name}.axis"),
            words.say("column.score"),
            words.say("column.interval"),
        ],
        rows=[
            (
                point.name,
                format(point.costs[cost] / unit, form),
                percent(point.score),
                f"{percent(point.low)} – {percent(point.high)}",
            )
            for point in ordered
        ],
    )


def _name(cost: str) -> str:
    return f"pareto-{cost.replace('_', '-')}"


def _drawing(
    cost: str, points: Sequence[Point], best: set[str], words: Words
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
        axes.set_xlabel(words.say(f"{_name(cost)}.axis"))
        axes.set_ylabel(words.say("pareto.score"))
        if cost == LOGARITHMIC:
            log_scale_(axes, "x")
        axes.margins(x=0.15)

    return draw
