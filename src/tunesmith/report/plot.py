"""A plot on a page: a picture as SVG in the page's colours, its words, its numbers as a table."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.core.numbers import limits_text, percent

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
    "hosted": "#0a0a0a",
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


def draw_svg(draw: Callable[["Axes"], None], *, height: float, name: str) -> str:
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

    Without an ``svg`` only the table is shown.
    """

    name: str
    title: str
    note: str = ""
    svg: str = ""
    alt: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


TICKS = (1.0, 3.0)  # of each power of ten: more would overlap


def log_scale_(axes: "Axes", which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic. Powers of ten as such would need a font of mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


ROW, AROUND, MARGIN_NAME = 0.34, 0.75, 0.2  # inches
MARKERS = {"tuned": "o", "base": "s", "prompted": "D", "examples": "^", "hosted": "v"}
WHOLE = (-3.0, 103.0)  # percent, with room for the marks of 0 and 100


@dataclass(frozen=True, slots=True)
class Bar:
    """One line: its label, a share and its limits; ``colour`` is a name in `COLOURS`."""

    label: str
    value: float
    low: float
    high: float
    colour: str = "ink"

    @property
    def row(self) -> tuple[str, str, str]:
        """Label, value and limits, as a table has them."""
        return self.label, percent(self.value), limits_text(self.low, self.high)


def score_bar(
    label: str, found: Mapping[str, Any], colour: str = "ink", *, key: str = "score"
) -> Bar:
    """The bar of what a document says under ``key``, `low` and `high`."""
    return Bar(label, found[key], found["low"], found["high"], colour)


def listed(bars: Sequence[Bar]) -> str:
    """The bars in words."""
    return ", ".join(f"{bar.label} {percent(bar.value)}" for bar in bars)


def interval_svg(
    name: str, bars: Sequence[Bar], *, axis: str, margins: Sequence[float] = (), margin: str = ""
) -> str:
    """The bars from above, in percent; ``margins`` are dashed, named ``margin``, beside a plain 0.

    Without margins the axis goes from 0 to 100.
    """

    def draw(axes: "Axes") -> None:
        for y, bar in enumerate(reversed(bars)):
            colour, marker = COLOURS[bar.colour], MARKERS.get(bar.colour, "o")
            axes.plot([100 * bar.low, 100 * bar.high], [y, y], color=colour, linewidth=2.5)
            axes.plot([100 * bar.value], [y], marker=marker, markersize=8, color=colour)
        if margins:
            axes.axvline(0, color=COLOURS["quiet"], linewidth=1)
        for mark in margins:
            axes.axvline(100 * mark, color=COLOURS["bad"], linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(
                margin,
                (100 * mark, 1),
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
        if not margins:
            axes.set_xlim(*WHOLE)

    height = AROUND + ROW * len(bars) + (MARGIN_NAME if margins else 0)
    return draw_svg(draw, height=height, name=name)
