"""A measure of every layer as a heat map: depth to the right, one line for each kind of layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.report.charts.plot import Plot
from tunesmith.report.svg import COLOURS, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, AROUND = 0.34, 0.85  # inches
TICKS = 16  # depths that are written, at most
MARK = "\N{MULTIPLICATION SIGN}"  # of a cell on the bad side: colour alone does not say it
FULL = 0.7  # opacity of the strongest cell


@dataclass(frozen=True, slots=True)
class Grid:
    """Values by kind and depth; ``neutral`` is the one that says nothing, ``bad`` the sign of a
    deviation that is bad.
    """

    values: Mapping[tuple[str, int], float]
    neutral: float
    bad: int

    @property
    def kinds(self) -> list[str]:
        """In the order in which they are met."""
        return list(dict.fromkeys(kind for kind, _ in self.values))

    @property
    def depths(self) -> list[int]:
        """From the first block to the last."""
        return sorted({depth for _, depth in self.values})

    @property
    def most(self) -> float:
        """The largest deviation from what says nothing; that of the strongest colour."""
        return max((abs(value - self.neutral) for value in self.values.values()), default=0.0)

    def is_bad(self, value: float) -> bool:
        """Whether a value lies on the bad side."""
        return (value - self.neutral) * self.bad > 0


@dataclass(frozen=True, slots=True)
class Said:
    """The words of a heat map; ``form`` writes its values in the table."""

    title: str
    note: str
    alt: str
    axis: str
    form: Callable[[float], str]


def heat_plot(name: str, grid: Grid, said: Said) -> Plot:
    """Cells in two colours, the stronger the further from what says nothing; all values below."""
    return Plot(
        name=name,
        title=said.title,
        note=said.note,
        svg=drawn(_drawing(grid, said.axis), height=AROUND + ROW * len(grid.kinds), name=name),
        alt=said.alt,
        header=[said.axis, *grid.kinds],
        rows=list(_rows(grid, said.form)),
    )


def _rows(grid: Grid, form: Callable[[float], str]) -> Sequence[Sequence[str]]:
    return [
        [f"{depth}", *(_cell(grid.values.get((kind, depth)), form) for kind in grid.kinds)]
        for depth in grid.depths
    ]


def _cell(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)


def _drawing(grid: Grid, axis: str) -> Callable[["Axes"], None]:
    def draw(axes: "Axes") -> None:
        from matplotlib.patches import Rectangle

        kinds, depths = grid.kinds, grid.depths
        for (kind, depth), value in grid.values.items():
            x, y = depths.index(depth), len(kinds) - 1 - kinds.index(kind)
            bad = grid.is_bad(value)
            strength = FULL * abs(value - grid.neutral) / grid.most if grid.most else 0.0
            box = Rectangle(
                (x - 0.48, y - 0.46),
                0.96,
                0.92,
                facecolor=COLOURS["bad" if bad else "examples"],
                alpha=strength,
                linewidth=0,
            )
            axes.add_patch(box)
            if bad:
                axes.text(x, y, MARK, ha="center", va="center", fontsize=8, color=COLOURS["ink"])
        every = max(1, -(-len(depths) // TICKS))
        shown = range(0, len(depths), every)
        axes.set_xticks(list(shown), [f"{depths[i]}" for i in shown])
        axes.set_yticks(range(len(kinds)), list(reversed(kinds)))
        axes.set_xlim(-0.5, len(depths) - 0.5)
        axes.set_ylim(-0.5, len(kinds) - 0.5)
        axes.set_xlabel(axis)
        axes.grid(visible=False)

    return draw
