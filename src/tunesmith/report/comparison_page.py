"""Which of several runs is the one to keep? Scores and costs side by side, in one HTML file."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.counts import percent
from tunesmith.errors import RunError
from tunesmith.report.charts.intervals import height_of, interval_drawing, percent_bar
from tunesmith.report.charts.pareto import Point, pareto_plots
from tunesmith.report.charts.plot import Plot
from tunesmith.report.numbers import bytes_text, clock
from tunesmith.report.records import Document, Records, read_records
from tunesmith.report.run_page import PHRASES, Section, is_unfinished, page, text_in, unfinished
from tunesmith.report.svg import drawn
from tunesmith.words import DEFAULT, Words

COMPARISON = "comparison.json"
COLUMNS = ("run", "method", "score", "interval", "loss", "time", "memory", "bytes", "trained")


def is_comparison(path: Path) -> bool:
    """Whether a folder holds several runs that were compared."""
    return (path / COMPARISON).is_file()


def comparison_page(path: Path, *, language: str = DEFAULT) -> str:
    """The page of a comparison. Raises RunError where it cannot be read."""
    words = Words(PHRASES, language)
    try:
        document = json.loads((path / COMPARISON).read_text(encoding="utf-8"))
        runs: Sequence[Document] = document["runs"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path} holds no finished comparison: {error}.",
            remedy=f"Go on with it: `tunesmith compare --resume {path}`.",
        ) from None
    records = {str(run["name"]): read_records(path / str(run["name"])) for run in runs}
    points = list(_points(runs, records))
    first = next(iter(records.values()), None)
    return page(
        "comparison.html.jinja",
        words,
        name=path.resolve().name,
        goal=first.config.get("goal") if first else None,
        sections=[s for s in _sections(document, points, words) if s.plots or s.texts],
        header=[words.say(f"column.{key}") for key in COLUMNS],
        rows=[_row(run, records[str(run["name"])], words) for run in runs],
        verdicts=[
            (str(run["name"]), _answer(records[str(run["name"])]), _verdict(records, run, words))
            for run in runs
        ],
        commands="\n".join(_commands(path, records)),
    )


def _commands(path: Path, records: Mapping[str, Records]) -> Iterator[str]:
    if any(is_unfinished(each) for each in records.values()):
        yield f"tunesmith compare --resume {shlex.quote(str(path))}"
    for each in records.values():
        yield f"tunesmith report {shlex.quote(str(each.path))}"


def _answer(records: Records) -> str:
    return str((records.evaluation.get("verdict") or {}).get("answer", "none"))


def _verdict(records: Mapping[str, Records], run: Document, words: Words) -> str:
    own = records[str(run["name"])]
    said = text_in(own.evaluation.get("verdict"), words.language) or str(run.get("error") or "")
    if said or not is_unfinished(own):
        return said
    folder = shlex.quote(str(own.path.parent))
    return unfinished(own, f"tunesmith compare --resume {folder}", words)


def _points(runs: Sequence[Document], records: Mapping[str, Records]) -> Iterator[Point]:
    for run in runs:
        if run.get("score") is None:
            continue
        own = records[str(run["name"])]
        costs = {key: run.get(key) for key in ("peak_bytes", "adapter_bytes")}
        costs["seconds"] = _training_seconds(own.summary)
        costs["perplexity"] = next(
            (
                each["difference"]
                for each in own.evaluation.get("forgetting") or ()
                if each["measure"] == "perplexity"
            ),
            None,
        )
        known = {key: float(value) for key, value in costs.items() if value is not None}
        yield Point(str(run["name"]), run["score"], run["low"], run["high"], known)


def _sections(document: Document, points: Sequence[Point], words: Words) -> Iterator[Section]:
    yield Section("result", [_scores(document, points, words)] if points else [])
    yield Section("costs", list(pareto_plots(points, words)))
    ranks = document.get("loss_against_rank") or ()
    told = ((each["runs"], text_in(each, words.language)) for each in ranks)
    yield Section("ranks", [], [f"{', '.join(runs)}: {text}" for runs, text in told if text])


def _scores(document: Document, points: Sequence[Point], words: Words) -> Plot:
    bars = [percent_bar(p.name, p.score, p.low, p.high, "tuned") for p in points]
    base = document.get("base") or {}
    if base.get("score") is not None:
        name = words.say("arm.base")
        bars.append(percent_bar(name, base["score"], base["low"], base["high"], "base"))
    says = ", ".join(f"{bar.label} {percent(bar.value / 100)}" for bar in bars)
    return Plot(
        name="scores",
        title=words.say("scores.title"),
        note="",
        svg=drawn(
            interval_drawing(bars, axis=words.say("arms.axis"), limits=(-3, 103)),
            height=height_of(bars),
            name="scores",
        ),
        alt=words.say("scores.alt", list=says),
        header=[],
        rows=[],
    )


def _training_seconds(summary: Document) -> float | None:
    """What the steps of a run take by themselves; runs that train together end together."""
    tokens, rate = summary.get("tokens"), summary.get("tokens_per_second")
    return tokens / rate if tokens and rate else None


def _row(run: Document, records: Records, words: Words) -> tuple[str, ...]:
    def known(key: str, form: Any) -> str:
        return "" if run.get(key) is None else str(form(run[key]))

    limits = run.get("low") is not None
    return (
        str(run["name"]),
        str(run.get("method")),
        known("score", percent) if not run.get("error") else words.say("scores.failed"),
        f"{percent(run['low'])} – {percent(run['high'])}" if limits else "",
        known("eval_loss", "{:.3f}".format),
        clock(seconds) if (seconds := _training_seconds(records.summary)) is not None else "",
        known("peak_bytes", bytes_text),
        known("adapter_bytes", bytes_text),
        known("trainable_parameters", "{:,}".format),
    )
