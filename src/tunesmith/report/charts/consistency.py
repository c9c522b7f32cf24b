"""Whether an arm answers alike when it is asked again, or in other words."""

from collections.abc import Iterator

from tunesmith.counts import percent
from tunesmith.report.charts.arms import ORDER
from tunesmith.report.charts.intervals import (
    Bar,
    height_of,
    interval_drawing,
    percent_bar,
)
from tunesmith.report.charts.plot import Plot
from tunesmith.report.records import Document
from tunesmith.report.svg import drawn
from tunesmith.words import Words

WAYS = ("samples", "paraphrases")


def consistency_plots(evaluation: Document, words: Words) -> Iterator[Plot]:
    """One plot for each way of asking again: the measures of each arm, those of one together."""
    for way in WAYS:
        found = (evaluation.get("consistency") or {}).get(way)
        if found and (bars := list(_bars(found["arms"], words))):
            yield _plot(way, found["questions"], bars, words)


def _bars(arms: Document, words: Words) -> Iterator[Bar]:
    measures = dict.fromkeys(name for arm in arms.values() for name in arm)
    for measure in measures:
        for arm in ORDER:
            if (one := arms.get(arm, {}).get(measure)) and one["score"] is not None:
                label = f"{words.say('consistency.' + measure)}: {words.say('arm.' + arm)}"
                yield percent_bar(label, one["score"], one["low"], one["high"], arm)


def _plot(way: str, questions: int, bars: list[Bar], words: Words) -> Plot:
    name = f"consistency-{way}"
    says = ", ".join(f"{bar.label} {percent(bar.value / 100)}" for bar in bars)
    return Plot(
        name=name,
        title=words.say(f"{name}.title"),
        note=words.say(f"{name}.note", questions),
        svg=drawn(
            interval_drawing(bars, axis=words.say("consistency.axis"), limits=(-3, 103)),
            height=height_of(bars),
            name=name,
        ),
        alt=words.say(f"{name}.alt", list=says),
        header=[words.say(f"column.{key}") for key in ("measure", "score", "interval")],
        rows=[
            (
                bar.label,
                percent(bar.value / 100),
                f"{percent(bar.low / 100)} – {percent(bar.high / 100)}",
            )
            for bar in bars
        ],
    )
