"""An axis on which equal distances are equal factors, with plain numbers beside it."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = (1.0, 3.0)  # of each power of ten: more would lie on each other


def log_scale_(axes: "Axes", which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic. Powers of ten as such would need a font of mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
