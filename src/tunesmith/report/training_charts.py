"""What training did: the loss over its steps, the rank that is used, what was forgotten."""

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunesmith.core.numbers import limits_text, percent, points
from tunesmith.core.phrases import Phrases
from tunesmith.report.plot import COLOURS, Plot, draw_svg, interval_svg, log_scale_, score_bar
from tunesmith.runs.history import Document, Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LEARNING, LEARNING_HEIGHT = "learning", 3.0
WIDE = 10  # a loss that falls by more than so many times is drawn on a log scale
SMOOTHED_OVER = 20  # windows of the run: one step's loss depends on its rows


def learning_plot(records: Records, words: Phrases) -> Plot | None:
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
        label = words.phrase("learning.step")
        axes.plot(steps, losses, color=COLOURS["line"], linewidth=1, label=label)
        mean, label = _smoothed(losses, window), words.phrase("learning.smoothed")
        axes.plot(steps, mean, color=COLOURS["tuned"], linewidth=2, label=label)
        if held:
            x, y = zip(*held, strict=True)
            label = words.phrase("learning.held")
            axes.plot(x, y, "D", color=COLOURS["prompted"], markersize=7, label=label)
        axes.set_xlabel(words.phrase("learning.x"))
        axes.set_ylabel(words.phrase("learning.log" if is_wide else "learning.y"))
        if is_wide:
            log_scale_(axes, "y")
        axes.legend()

    last = f"{statistics.mean(losses[-window:]):.3f}"
    return Plot(
        name=LEARNING,
        title=words.phrase("learning.title"),
        svg=draw_svg(draw, height=LEARNING_HEIGHT, name=LEARNING),
        alt=words.phrase(
            "learning.alt", first=f"{losses[0]:.3f}", last=last, steps=f"{steps[-1]:,}"
        ),
        header=[words.phrase("learning.x"), words.phrase("learning.unit")],
        rows=[(f"{step:,}", f"{loss:.4f}") for step, loss in held],
    )


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and those before it in a window."""
    return [statistics.mean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]


SPECTRUM, SPECTRUM_HEIGHT = "spectrum", 3.0


def spectrum_plot(evaluation: Document, words: Phrases) -> Plot | None:
    """A line for each layer, and one over all; None for what has no rank."""
    capacity = evaluation.get("capacity") or {}
    shares = [100 * float(each) for each in capacity.get("energy_shares") or ()]
    if not shares:
        return None

    def draw(axes: "Axes") -> None:
        for layer in capacity.get("layers") or ():
            axes.plot(*_steps(_shares_of(layer["singular_values"])), color=COLOURS["line"], lw=0.6)
        label = words.phrase("spectrum.all")
        axes.plot(*_steps(shares), color=COLOURS["tuned"], linewidth=2.5, label=label)
        axes.set_xlabel(words.phrase("spectrum.x"))
        axes.set_ylabel(words.phrase("spectrum.y"))
        axes.set_ylim(0, 103)
        axes.legend(loc="lower right")

    rank, needed = capacity["rank"], capacity["rank_for_99"]
    return Plot(
        name=SPECTRUM,
        title=words.phrase("spectrum.title"),
        note=words.phrase("spectrum.note"),
        svg=draw_svg(draw, height=SPECTRUM_HEIGHT, name=SPECTRUM),
        alt=words.phrase("spectrum.alt", needed=needed, rank=rank),
        header=[words.phrase("spectrum.x"), words.phrase("spectrum.y")],
        rows=[(f"{i}", percent(share / 100)) for i, share in enumerate(shares, start=1)],
    )


def _steps(shares: list[float]) -> tuple[list[int], list[float]]:
    return list(range(len(shares) + 1)), [0.0, *shares]


def _shares_of(values: list[float]) -> list[float]:
    """Share of the total, in percent, that the first 1, 2, ... singular values hold."""
    energies = [value * value for value in values]
    total = sum(energies)
    return [100 * sum(energies[: i + 1]) / total for i in range(len(energies))] if total else []


COLOUR = {"kept": "good", "forgotten": "bad", "unclear": "quiet", "absent": "quiet"}
COLUMNS = ("probe", "before", "after", "change", "interval", "allowed", "outcome")
WORSE = {"accuracy": -1, "perplexity": 1, "passed": -1}  # the sign of a change for the worse


def forgetting_plots(evaluation: Document, words: Phrases) -> Iterator[Plot]:
    """One plot for each measure that probes have, as they are in different units, and what was
    lost in words.
    """
    findings = evaluation.get("forgetting") or []
    for measure in WORSE:
        if of_it := [each for each in findings if each["measure"] == measure]:
            yield _plot(measure, of_it, words)
    lost = [
        (str(each["probe"]), one["query"], one["base"], one["tuned"])
        for each in findings
        if each["outcome"] == "forgotten"
        for one in each.get("lost") or ()
    ]
    if lost:
        yield _lost_table(lost, words)


def _lost_table(rows: Sequence[Sequence[str]], words: Phrases) -> Plot:
    """Prompts with the answers of base and tuned."""
    return Plot(
        name="forgetting-lost",
        title=words.phrase("forgetting-lost.title"),
        note=words.phrase("forgetting-lost.note"),
        header=[words.phrase(f"column.{key}") for key in ("probe", "prompt", "before", "after")],
        rows=rows,
    )


def _plot(measure: str, findings: Sequence[Document], words: Phrases) -> Plot:
    name = f"forgetting-{measure}"
    bars = [
        score_bar(str(each["probe"]), each, COLOUR[each["outcome"]], key="difference")
        for each in findings
    ]
    says = "; ".join(f"{e['probe']} {words.phrase('outcome.' + e['outcome'])}" for e in findings)
    return Plot(
        name=name,
        title=words.phrase(f"{name}.title"),
        note=words.phrase(f"{name}.note"),
        svg=interval_svg(
            name,
            bars,
            axis=words.phrase(f"{name}.axis"),
            margins=sorted({WORSE[measure] * float(each["margin"]) for each in findings}),
            margin=words.phrase("forgetting.margin"),
        ),
        alt=words.phrase("forgetting.alt", list=says),
        header=[words.phrase(f"column.{key}") for key in COLUMNS],
        rows=[_row(each, measure, words) for each in findings],
    )


def _row(finding: Document, measure: str, words: Phrases) -> Sequence[str]:
    return (
        str(finding["probe"]),
        _value(finding, "base"),
        _value(finding, "tuned"),
        points(finding["difference"]),
        limits_text(finding["low"], finding["high"], points),
        points(WORSE[measure] * finding["margin"]),
        words.phrase(f"outcome.{finding['outcome']}"),
    )


def _value(finding: Document, arm: str) -> str:
    value = float(finding[arm])
    return f"{value:.2f}" if finding["measure"] == "perplexity" else percent(value)
