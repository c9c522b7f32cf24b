"""What general ability lost or gained: each probe's change, with the margin that is allowed."""

from collections.abc import Iterator, Sequence

from tunesmith.counts import percent
from tunesmith.report.charts.intervals import height_of, interval_drawing, percent_bar
from tunesmith.report.charts.plot import Plot
from tunesmith.report.numbers import signed
from tunesmith.report.records import Document
from tunesmith.report.svg import drawn
from tunesmith.words import Words

COLOUR = {"kept": "good", "forgotten": "bad", "unclear": "quiet"}
COLUMNS = ("probe", "before", "after", "change", "interval", "allowed", "outcome")
MARGIN_NAME = 0.2  # inches above the plot
WORSE = {"accuracy": -1, "perplexity": 1}  # the sign of a change for the worse


def forgetting_plots(evaluation: Document, words: Words) -> Iterator[Plot]:
    """One plot for each measure that probes have: they are in different units."""
    findings = evaluation.get("forgetting") or []
    for measure in WORSE:
        if of_it := [each for each in findings if each["measure"] == measure]:
            yield _plot(measure, of_it, words)


def _plot(measure: str, findings: Sequence[Document], words: Words) -> Plot:
    name = f"forgetting-{measure}"
    bars = [
        percent_bar(
            str(each["probe"]),
            each["difference"],
            each["low"],
            each["high"],
            COLOUR[each["outcome"]],
        )
        for each in findings
    ]
    margins = {100 * WORSE[measure] * float(each["margin"]) for each in findings}
    says = "; ".join(f"{e['probe']} {words.say('outcome.' + e['outcome'])}" for e in findings)
    return Plot(
        name=name,
        title=words.say(f"{name}.title"),
        note=words.say(f"{name}.note"),
        svg=drawn(
            interval_drawing(
                bars,
                axis=words.say(f"{name}.axis"),
                margins=sorted(margins),
                margin=words.say("forgetting.margin"),
            ),
            height=height_of(bars) + MARGIN_NAME,
            name=name,
        ),
        alt=words.say("forgetting.alt", list=says),
        header=[words.say(f"column.{key}") for key in COLUMNS],
        rows=[_row(each, measure, words) for each in findings],
    )


def _row(finding: Document, measure: str, words: Words) -> Sequence[str]:
    return (
        str(finding["probe"]),
        _value(finding, "base"),
        _value(finding, "tuned"),
        signed(finding["difference"]),
        f"{signed(finding['low'])} – {signed(finding['high'])}",
        signed(WORSE[measure] * finding["margin"]),
        words.say(f"outcome.{finding['outcome']}"),
    )


def _value(finding: Document, arm: str) -> str:
    value = float(finding[arm])
    return f"{value:.2f}" if finding["measure"] == "perplexity" else percent(value)
