"""A plot on a page: a picture as SVG in the page's colours, its words, its numbers as a table."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# A plot is drawn in these colours, and each becomes the page's variable of that name.
COLOURS = {
    "ink": "#010101",
    "quiet": "#020202",
    "line": "#030303",
    "tuned": "#040404",
    "base": "#050505",
    "prompted": "#060606",
    "examples": "#070707",
    "good": "#080808",
    "bad": "#090909",
}
# Inches: 374 points, about the pixels of a telephone, where letters keep the size they have here.
WIDTH = 5.2
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["quiet"],
    "axes.edgecolor": COLOURS["line"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["quiet"],
    "ytick.color": COLOURS["quiet"],
    "legend.frameon": False,
}
_OWN_ID = re.compile(r'(id="|url\(#|href="#)')


def drawn(draw: Callable[["Axes"], None], *, height: float, name: str) -> str:
    """An <svg> element; ``name`` keeps its ids apart from other plots' on a page.

    ``height`` in inches, ``WIDTH`` wide. The same drawing gives the same bytes.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}
    with rc_context(style), warnings.catch_warnings():
        # The page's letters are drawn by the reader's fonts, not by this machine's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(file.getvalue(), name)


def _for_page(text: str, name: str) -> str:
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = _OWN_ID.sub(rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--letters)", svg)


@dataclass(frozen=True, slots=True)
class Plot:
    """``alt`` says what the picture shows; ``rows`` are its numbers under ``header``.

    Without an ``svg`` the table stands for itself.
    """

    name: str
    title: str
    note: str
    svg: str
    alt: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


TICKS = (1.0, 3.0)  # of each power of ten: more would lie on each other


def log_scale_(axes: "Axes", which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic. Powers of ten as such would need a font of mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


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
