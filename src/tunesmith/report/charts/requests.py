"""What a request costs in each arm: tokens of its prompt, and the time to an answer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.report.charts.arms import ORDER
from tunesmith.report.charts.plot import Plot
from tunesmith.report.records import Document
from tunesmith.report.svg import COLOURS, drawn
from tunesmith.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, AROUND = 0.34, 0.75  # inches
MEASURES = ("prompt_tokens", "seconds_per_answer")
DIGITS = {"prompt_tokens": ",.0f", "seconds_per_answer": ".2f"}


def request_plots(evaluation: Document, words: Words) -> Iterator[Plot]:
    """One plot for each measure that the arms have."""
    arms = evaluation.get("arms") or {}
    for measure in MEASURES:
        found = {arm: arms[arm].get(measure) for arm in ORDER if arm in arms}
        known = {arm: float(value) for arm, value in found.items() if value is not None}
        if known:
            yield _plot(measure, known, words)


def _plot(measure: str, values: dict[str, float], words: Words) -> Plot:
    name, form = measure.replace("_", "-"), DIGITS[measure]
    labels = {arm: words.say(f"arm.{arm}") for arm in values}

    def draw(axes: "Axes") -> None:
        for y, (arm, value) in enumerate(reversed(values.items())):
            axes.barh(y, value, height=0.55, color=COLOURS[arm])
            axes.annotate(
                format(value, form),
                (value, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(range(len(values)), [labels[arm] for arm in reversed(values)])
        axes.set_xlabel(words.say(f"{name}.axis"))
        axes.set_xlim(0, 1.12 * max(max(values.values()), 1e-9))
        axes.grid(visible=False, axis="y")

    says = ", ".join(f"{labels[arm]} {value:{form}}" for arm, value in values.items())
    return Plot(
        name=name,
        title=words.say(f"{name}.title"),
        note=words.say(f"{name}.note"),
        svg=drawn(draw, height=AROUND + ROW * len(values), name=name),
        alt=words.say(f"{name}.alt", list=says),
        header=[words.say("column.arm"), words.say(f"{name}.axis")],
        rows=[(labels[arm], format(value, form)) for arm, value in values.items()],
    )
