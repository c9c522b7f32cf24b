"""The loss over the steps of a run: of each step, and of the rows that were held out."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.report.charts.plot import Plot
from tunesmith.report.charts.scales import log_scale_
from tunesmith.report.records import Records
from tunesmith.report.svg import COLOURS, drawn
from tunesmith.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME, HEIGHT = "learning", 3.0
WIDE = 10  # a loss that falls by more than so many times is drawn on a log scale
SMOOTHED_OVER = 20  # windows of the run: one step's loss depends on its rows


def learning_plot(records: Records, words: Words) -> Plot | None:
    """None for a run without a step."""
    steps = [row["step"] for row in records.metrics]
    losses = [row["loss"] for row in records.metrics]
    held = [(each["step"], each["loss"]) for each in records.held_out]
    if not steps:
        return None
    window = max(1, len(steps) // SMOOTHED_OVER)
    every = [*losses, *(loss for _, loss in held)]
    is_wide = min(every) > 0 and max(every) > WIDE * min(every)

    def draw(axes: "Axes") -> None:
        axes.plot(
            steps, losses, color=COLOURS["line"], linewidth=1, label=words.say("learning.step")
        )
        axes.plot(
            steps,
            _smoothed(losses, window),
            color=COLOURS["tuned"],
            linewidth=2,
            label=words.say("learning.smoothed"),
        )
        if held:
            x, y = zip(*held, strict=True)
            label = words.say("learning.held")
            axes.plot(x, y, "D", color=COLOURS["prompted"], markersize=7, label=label)
        axes.set_xlabel(words.say("learning.x"))
        axes.set_ylabel(words.say("learning.log" if is_wide else "learning.y"))
        if is_wide:
            log_scale_(axes, "y")
        axes.legend()

    last = f"{statistics.mean(losses[-window:]):.3f}"
    return Plot(
        name=NAME,
        title=words.say("learning.title"),
        note="",
        svg=drawn(draw, height=HEIGHT, name=NAME),
        alt=words.say("learning.alt", first=f"{losses[0]:.3f}", last=last, steps=f"{steps[-1]:,}"),
        header=[words.say("learning.x"), words.say("learning.held")],
        rows=[(f"{step:,}", f"{loss:.4f}") for step, loss in held],
    )


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and those before it in a window."""
    return [statistics.mean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]
