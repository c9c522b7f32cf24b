"""Values with their intervals, one under the other: the picture of every measured difference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.report.svg import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, AROUND = 0.34, 0.75  # inches
MARKERS = {"tuned": "o", "base": "s", "prompted": "D", "examples": "^"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One line: its label, value and limits; ``colour`` is a name in `svg.COLOURS`."""

    label: str
    value: float
    low: float
    high: float
    colour: str = "ink"


def percent_bar(label: str, value: float, low: float, high: float, colour: str) -> Bar:
    """A bar of shares, drawn in percent."""
    return Bar(label, 100 * value, 100 * low, 100 * high, colour)


def height_of(bars: Sequence[Bar]) -> float:
    """Inches that so many lines take."""
    return AROUND + ROW * len(bars)


def interval_drawing(
    bars: Sequence[Bar],
    *,
    axis: str,
    limits: tuple[float, float] | None = None,
    margins: Sequence[float] = (),
    margin: str = "",
) -> Callable[["Axes"], None]:
    """Draws the bars from above; ``margins`` are dashed, named ``margin``, beside a plain 0."""

    def draw(axes: "Axes") -> None:
        for y, bar in enumerate(reversed(bars)):
            colour = COLOURS[bar.colour]
            axes.plot([bar.low, bar.high], [y, y], color=colour, linewidth=2.5)
            marker = MARKERS.get(bar.colour, "o")
            axes.plot([bar.value], [y], marker=marker, markersize=8, color=colour)
        if margins:
            axes.axvline(0, color=COLOURS["quiet"], linewidth=1)
        for mark in margins:
            axes.axvline(mark, color=COLOURS["bad"], linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(
                margin,
                (mark, 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=COLOURS["bad"],
            )
        axes.set_yticks(range(len(bars)), [bar.label for bar in reversed(bars)])
        axes.set_ylim(-0.6, len(bars) - 0.4)
        axes.set_xlabel(axis)
        axes.grid(visible=False, axis="y")
        if limits is not None:
            axes.set_xlim(*limits)

    return draw
