"""How much of each check every arm passes, with its interval."""

from collections.abc import Iterator

from tunesmith.counts import percent
from tunesmith.report.charts.intervals import height_of, interval_drawing, percent_bar
from tunesmith.report.charts.plot import Plot
from tunesmith.report.records import Document
from tunesmith.report.svg import drawn
from tunesmith.words import Words

ORDER = ("tuned", "prompted", "examples", "base")


def arms_plots(evaluation: Document, words: Words) -> Iterator[Plot]:
    """One plot for each check; the first one decides the verdict."""
    arms = evaluation.get("arms") or {}
    names = dict.fromkeys(name for arm in arms.values() for name in arm.get("checks", {}))
    for number, name in enumerate(names):
        bars = [
            percent_bar(words.say(f"arm.{arm}"), s["score"], s["low"], s["high"], arm)
            for arm in ORDER
            if (s := arms.get(arm, {}).get("checks", {}).get(name)) and s["score"] is not None
        ]
        if not bars:
            continue
        counts = {arm: arms[arm]["checks"][name].get("n") for arm in arms}
        says = ", ".join(f"{bar.label} {percent(bar.value / 100)}" for bar in bars)
        yield Plot(
            name=f"arms-{number}",
            title=words.say("arms.title", check=name),
            note=" ".join(_notes(name, arms, is_first=number == 0 and len(names) > 1, words=words)),
            svg=drawn(
                interval_drawing(bars, axis=words.say("arms.axis"), limits=(-3, 103)),
                height=height_of(bars),
                name=f"arms-{number}",
            ),
            alt=words.say("arms.alt", check=name, list=says),
            header=[words.say(f"column.{key}") for key in ("arm", "score", "interval", "rows")],
            rows=[
                (
                    bar.label,
                    percent(bar.value / 100),
                    f"{percent(bar.low / 100)} – {percent(bar.high / 100)}",
                    f"{counts.get(bar.colour) or 0:,}",
                )
                for bar in bars
            ],
        )


def _notes(name: str, arms: Document, *, is_first: bool, words: Words) -> Iterator[str]:
    """Whether the check decides, and each figure that it has beside its score, of every arm."""
    if is_first:
        yield words.say("arms.decides")
    own = {arm: arms.get(arm, {}).get("checks", {}).get(name) or {} for arm in ORDER}
    figures = {arm: found.get("figures") or {} for arm, found in own.items()}
    for figure in dict.fromkeys(key for each in figures.values() for key in each):
        values = [
            f"{words.say(f'arm.{arm}')} {each[figure]:.2f}"
            for arm, each in figures.items()
            if isinstance(each.get(figure), int | float)
        ]
        if values:
            key = f"figure.{figure}"
            title = words.say(key) if words.has(key) else figure.replace("_", " ")
            yield f"{title}: {', '.join(values)}."
