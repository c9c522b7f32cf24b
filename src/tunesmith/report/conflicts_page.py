"""What clashes between adapters? Verdict, heat maps of every pair and scores, in one HTML file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.counts import percent
from tunesmith.report.charts.heat import Grid, Said, heat_plot
from tunesmith.report.charts.intervals import height_of, interval_drawing, percent_bar
from tunesmith.report.charts.plot import Plot
from tunesmith.report.numbers import MINUS, signed
from tunesmith.report.records import Document
from tunesmith.report.run_page import PHRASES, Section, page
from tunesmith.report.svg import drawn
from tunesmith.words import DEFAULT, Words

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
