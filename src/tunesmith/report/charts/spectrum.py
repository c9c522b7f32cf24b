"""How much of a LoRA's rank is used: the share of B A that its first directions hold."""

from typing import TYPE_CHECKING

from tunesmith.counts import percent
from tunesmith.report.charts.plot import Plot
from tunesmith.report.records import Document
from tunesmith.report.svg import COLOURS, drawn
from tunesmith.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME, HEIGHT = "spectrum", 3.0


def spectrum_plot(evaluation: Document, words: Words) -> Plot | None:
    """A line for each layer, and one over all; None for what has no rank."""
    capacity = evaluation.get("capacity") or {}
    shares = [100 * float(each) for each in capacity.get("energy_shares") or ()]
    if not shares:
        return None

    def draw(axes: "Axes") -> None:
        for layer in capacity.get("layers") or ():
            axes.plot(*_steps(_shares_of(layer["singular_values"])), color=COLOURS["line"], lw=0.6)
        label = words.say("spectrum.all")
        axes.plot(*_steps(shares), color=COLOURS["tuned"], linewidth=2.5, label=label)
        axes.set_xlabel(words.say("spectrum.x"))
        axes.set_ylabel(words.say("spectrum.y"))
        axes.set_ylim(0, 103)
        axes.legend(loc="lower right")

    rank, needed = capacity["rank"], capacity["rank_for_99"]
    return Plot(
        name=NAME,
        title=words.say("spectrum.title"),
        note=words.say("spectrum.note"),
        svg=drawn(draw, height=HEIGHT, name=NAME),
        alt=words.say("spectrum.alt", needed=needed, rank=rank),
        header=[words.say("spectrum.x"), words.say("spectrum.y")],
        rows=[(f"{i}", percent(share / 100)) for i, share in enumerate(shares, start=1)],
    )


def _steps(shares: list[float]) -> tuple[list[int], list[float]]:
    return list(range(len(shares) + 1)), [0.0, *shares]


def _shares_of(values: list[float]) -> list[float]:
    """Share of the total, in percent, that the first 1, 2, ... singular values hold."""
    energies = [value * value for value in values]
    total = sum(energies)
    return [100 * sum(energies[: i + 1]) / total for i in range(len(energies))] if total else []
