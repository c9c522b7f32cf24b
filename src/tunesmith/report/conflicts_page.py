"""What clashes between adapters? Verdict, heat maps of every pair and scores, in one HTML file."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.core.language import DEFAULT
from tunesmith.core.numbers import percent, signed
from tunesmith.core.phrases import Phrases
from tunesmith.report.page import PHRASES, Section, change_text, page
from tunesmith.report.plot import COLOURS, ROW, Plot, draw_svg, interval_svg, listed, score_bar
from tunesmith.runs.history import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes


AROUND = 0.85  # inches
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
    def limit(self) -> float:
        """The largest deviation from what says nothing; that of the strongest colour."""
        return max((abs(value - self.neutral) for value in self.values.values()), default=0.0)

    def is_bad(self, value: float) -> bool:
        """Whether a value lies on the bad side."""
        return (value - self.neutral) * self.bad > 0


def _table(grid: Grid, form: Callable[[float], str]) -> list[list[str]]:
    """A line for each depth, with a column for each kind."""
    return [
        [f"{depth}", *(_written(grid.values.get((kind, depth)), form) for kind in grid.kinds)]
        for depth in grid.depths
    ]


def _drawing(grid: Grid, axis: str) -> Callable[["Axes"], None]:
    def draw(axes: "Axes") -> None:
        from matplotlib.patches import Rectangle

        kinds, depths = grid.kinds, grid.depths
        for (kind, depth), value in grid.values.items():
            x, y = depths.index(depth), len(kinds) - 1 - kinds.index(kind)
            bad = grid.is_bad(value)
            scale = FULL * abs(value - grid.neutral) / grid.limit if grid.limit else 0.0
            box = Rectangle(
                (x - 0.48, y - 0.46),
                0.96,
                0.92,
                facecolor=COLOURS["bad" if bad else "examples"],
                alpha=scale,
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


ANSWERS = {"fits": "yes", "clash": "no"}  # the colours of a run's verdict
# Of each measure that is drawn: the value that says nothing, and the bad direction from there.
MAPS = {"cosine": (0.0, -1), "sign_conflict": (0.5, 1)}
COLUMNS = ("cosine", "sign_conflict", "input_overlap", "output_overlap", "chance_overlap")
ARMS = {"base": "base", "alone": "tuned"}


def conflicts_page(document: Document, *, language: str = DEFAULT) -> str:
    """The page of what `adapters conflicts --json` prints."""
    words = Phrases(PHRASES, language)
    pairs: Sequence[Document] = document["pairs"]
    names = list(dict.fromkeys(str(pair[key]) for pair in pairs for key in ("a", "b")))
    verdict = document["verdict"]
    sections = [
        (words.phrase("conflicts.scores"), Section("scores", list(_scores(document, words)))),
        *(
            (f"{pair['a']}, {pair['b']}", Section(f"pair-{i}", list(_maps(i, pair, words))))
            for i, pair in enumerate(pairs)
        ),
    ]
    return page(
        "conflicts.html.jinja",
        words,
        title=words.phrase("conflicts.page-title", name=", ".join(names)),
        answer=ANSWERS.get(str(verdict["answer"]), "none"),
        headline=words.phrase(f"conflicts.answer.{verdict['answer']}"),
        verdict=str(verdict["text"]),
        header=[
            words.phrase("conflicts.pair"),
            *(words.phrase(f"conflicts.{key}") for key in COLUMNS),
        ],
        rows=[_row(pair) for pair in pairs],
        sections=[(title, each) for title, each in sections if each.plots],
        left_out=[f"{name}: {why}" for name, why in document["left_out"].items()],
        commands=str(document["side_by_side"]),
    )


def _row(pair: Document) -> tuple[str, ...]:
    shares = (_written(pair[key], percent) for key in COLUMNS[1:])
    return (f"{pair['a']}, {pair['b']}", _written(pair["cosine"], _cosine), *shares)


def _written(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None or math.isnan(value) else form(value)


def _cosine(value: float) -> str:
    return signed(value, 3)


def _maps(number: int, pair: Document, words: Phrases) -> Iterator[Plot]:
    """One heat map for each measure; layers outside the blocks have no place in it."""
    for measure, (neutral, bad) in MAPS.items():
        values = {
            (str(layer["kind"]), int(layer["depth"])): float(layer[measure])
            for layer in pair["layers"]
            if layer["depth"] is not None
            and layer[measure] is not None
            and math.isfinite(layer[measure])
        }
        if values:
            name = f"map-{number}-{measure.replace('_', '-')}"
            yield _heat_plot(name, measure, Grid(values, neutral, bad), words)


def _heat_plot(name: str, measure: str, grid: Grid, words: Phrases) -> Plot:
    """Cells in two colours, the stronger the further from what says nothing; all values below."""
    form = percent if measure == "sign_conflict" else _cosine
    key, axis = f"conflicts.map.{measure}", words.phrase("conflicts.depth")
    count = sum(map(grid.is_bad, grid.values.values()))
    return Plot(
        name=name,
        title=words.phrase(f"{key}.title"),
        note=words.phrase(f"{key}.note", limit=form(grid.neutral + grid.bad * grid.limit)),
        svg=draw_svg(_drawing(grid, axis), height=AROUND + ROW * len(grid.kinds), name=name),
        alt=words.phrase(f"{key}.alt", count, of=len(grid.values)),
        header=[axis, *grid.kinds],
        rows=_table(grid, form),
    )


def _scores(document: Document, words: Phrases) -> Iterator[Plot]:
    """One plot for each task: the base, the adapter alone, and every combination."""
    errors = {str(each["name"]): percent(each["error"]) for each in document["tried"]}
    for number, task in enumerate(document["scores"]):
        arms: Mapping[str, Document] = task["arms"]
        bars = [
            score_bar(_arm(name, words), each, ARMS.get(name, "ink")) for name, each in arms.items()
        ]
        columns = ("column.score", "column.interval", "column.rows")
        keys = ("conflicts.arm", *columns, "conflicts.drop", "conflicts.error")
        yield Plot(
            name=f"scores-{number}",
            title=words.phrase("conflicts.task", task=task["adapter"], check=task["check"]),
            svg=interval_svg(f"scores-{number}", bars, axis=words.phrase("arms.axis")),
            alt=words.phrase("arms.alt", check=task["check"], list=listed(bars)),
            header=[words.phrase(key) for key in keys],
            rows=[
                (*bar.row, *_beside(found), errors.get(name, ""))
                for bar, (name, found) in zip(bars, arms.items(), strict=True)
            ],
        )


def _arm(name: str, words: Phrases) -> str:
    return words.phrase(f"conflicts.arms.{name}") if name in ARMS else name


def _beside(found: Document) -> tuple[str, str]:
    """Rows, and the points lost where that was compared."""
    drop = found.get("drop")
    return f"{found['n']:,}", change_text(drop) if drop else ""
