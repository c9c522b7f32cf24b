"""What clashes between adapters? Verdict, heat maps of every pair and scores, in one HTML file."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.core.numbers import MINUS, percent, signed
from tunesmith.core.phrases import DEFAULT, Words
from tunesmith.report.plot import COLOURS, Plot, drawn, height_of, interval_drawing, percent_bar
from tunesmith.report.run_page import PHRASES, Section, page
from tunesmith.runs.history import Document

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


ANSWERS = {"fits": "yes", "clash": "no"}  # the colours of a run's verdict
# Of each measure that is drawn: the value that says nothing, and the bad direction from there.
MAPS = {"cosine": (0.0, -1), "sign_conflict": (0.5, 1)}
COLUMNS = ("cosine", "sign_conflict", "input_overlap", "output_overlap", "chance_overlap")
ARMS = {"base": "base", "alone": "tuned"}


def conflicts_page(document: Document, *, language: str = DEFAULT) -> str:
    """The page of what `adapters conflicts --json` prints."""
    words = Words(PHRASES, language)
    pairs: Sequence[Document] = document["pairs"]
    names = list(dict.fromkeys(str(pair[key]) for pair in pairs for key in ("a", "b")))
    verdict = document["verdict"]
    sections = [
        (words.say("conflicts.scores"), Section("scores", list(_scores(document, words)))),
        *(
            (f"{pair['a']}, {pair['b']}", Section(f"pair-{i}", list(_maps(i, pair, words))))
            for i, pair in enumerate(pairs)
        ),
    ]
    return page(
        "conflicts.html.jinja",
        words,
        name=", ".join(names),
        answer=ANSWERS.get(str(verdict["answer"]), "none"),
        headline=words.say(f"conflicts.answer.{verdict['answer']}"),
        verdict=str(verdict["text"]),
        header=[words.say("conflicts.pair"), *(words.say(f"conflicts.{key}") for key in COLUMNS)],
        rows=[_row(pair) for pair in pairs],
        sections=[(title, each) for title, each in sections if each.plots],
        left_out=[f"{name}: {why}" for name, why in document["left_out"].items()],
        commands=str(document["side_by_side"]),
    )


def _row(pair: Document) -> tuple[str, ...]:
    shares = (_share(_number(pair[key])) for key in COLUMNS[1:])
    return (f"{pair['a']}, {pair['b']}", _plain(_number(pair["cosine"])), *shares)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3f}".replace("-", MINUS)


def _share(value: float) -> str:
    return "" if math.isnan(value) else percent(value)


def _maps(number: int, pair: Document, words: Words) -> Iterator[Plot]:
    """One heat map for each measure; layers outside the blocks have no place in it."""
    for measure, (neutral, bad) in MAPS.items():
        values = {
            (str(layer["kind"]), int(layer["depth"])): value
            for layer in pair["layers"]
            if layer["depth"] is not None and math.isfinite(value := _number(layer[measure]))
        }
        if not values:
            continue
        grid = Grid(values, neutral, bad)
        form = percent if measure == "sign_conflict" else _plain
        key = f"conflicts.map.{measure}"
        count = sum(map(grid.is_bad, values.values()))
        most = form(neutral + bad * grid.most)
        said = Said(
            title=words.say(f"{key}.title"),
            note=words.say(f"{key}.note", most=most),
            alt=words.say(f"{key}.alt", count, of=len(values)),
            axis=words.say("conflicts.depth"),
            form=form,
        )
        yield heat_plot(f"map-{number}-{measure.replace('_', '-')}", grid, said)


def _scores(document: Document, words: Words) -> Iterator[Plot]:
    """One plot for each task: the base, the adapter alone, and every combination."""
    errors = {str(each["name"]): percent(each["error"]) for each in document["tried"]}
    for number, task in enumerate(document["scores"]):
        arms: Mapping[str, Document] = task["arms"]
        bars = [
            percent_bar(_arm(name, words), s["score"], s["low"], s["high"], ARMS.get(name, "ink"))
            for name, s in arms.items()
        ]
        says = ", ".join(f"{bar.label} {percent(bar.value / 100)}" for bar in bars)
        name, of = f"scores-{number}", {"task": task["adapter"], "check": task["check"]}
        columns = ("column.score", "column.interval", "column.rows")
        keys = ("conflicts.arm", *columns, "conflicts.drop", "conflicts.error")
        yield Plot(
            name=name,
            title=words.say("conflicts.task", **of),
            note="",
            svg=drawn(
                interval_drawing(bars, axis=words.say("arms.axis"), limits=(-3, 103)),
                height=height_of(bars),
                name=name,
            ),
            alt=words.say("arms.alt", check=task["check"], list=says),
            header=[words.say(key) for key in keys],
            rows=[
                (*_score(each, found, words), errors.get(each, "")) for each, found in arms.items()
            ],
        )


def _arm(name: str, words: Words) -> str:
    return words.say(f"conflicts.arms.{name}") if name in ARMS else name


def _score(name: str, found: Document, words: Words) -> tuple[str, ...]:
    drop = found.get("drop")
    return (
        _arm(name, words),
        percent(found["score"]),
        f"{percent(found['low'])} – {percent(found['high'])}",
        f"{found['n']:,}",
        f"{signed(drop['mean'])} ({signed(drop['low'])} – {signed(drop['high'])})" if drop else "",
    )
