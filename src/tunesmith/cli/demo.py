"""`tunesmith demo`: a tour on the default model and a small data set that comes along."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import messages, say
from tunesmith.cli.interrupt import stop_on_signal
from tunesmith.cli.outcome import Document, Outcome, command
from tunesmith.cli.quantities import bytes_text, duration
from tunesmith.cli.run_result import labelled, show_answers
from tunesmith.cli.train import STOPPING
from tunesmith.counts import many, percent
from tunesmith.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.evaluate.interval import Interval
    from tunesmith.workflows.demo import DemoResult

INTRODUCTION = """\
This fetches a small model once, teaches it with LoRA to answer the users of a voice assistant
in JSON, and asks it questions that it was not trained on, before and after."""


@command
def demo(
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", readable=False, help="Where the run and its adapter go."),
    ] = Path("runs/demo"),
) -> Outcome:
    """A tour: fetch the default model, fine-tune it, show that it changed. Some minutes."""
    from tunesmith.cli.run_display import RunDisplay

    say(INTRODUCTION)
    from tunesmith.workflows.demo import demo as run_demo

    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            result = run_demo(out=out, emit=display, stop=stop)
        except RunError as error:
            if error.code != "stopped":
                raise
            raise KeyboardInterrupt(str(error)) from None
    return Outcome(_document(result), show=lambda console: _show(result, console))


def _document(result: "DemoResult") -> Document:
    keys = ("question", "before", "after", "reference")
    return {
        **result.summary.to_json(),
        "check": result.check,
        "before": _interval(result.before),
        "after": _interval(result.after),
        "difference": _interval(result.difference),
        "examples": [dict(zip(keys, example, strict=True)) for example in result.examples],
        "next": list(result.next_commands),
    }


def _interval(interval: "Interval") -> Document:
    return {
        "score": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
    }


def _show(result: "DemoResult", console: "Console") -> None:
    show_answers(result.summary.answers, console)
    rows = many(result.after.n, "held-out row")
    _title(f"Score of the check `{result.check}` on {rows}", console)
    for name, interval in (("before", result.before), ("after", result.after)):
        labelled(name, f"{percent(interval.mean)} ({_limits(interval)})", console=console)
    points = f"{100 * result.difference.mean:+.0f} points ({_limits(result.difference)})"
    labelled("difference", points, console=console)
    summary = result.summary
    for line in _judged(summary.evaluation or {}):
        console.print(line, soft_wrap=True)
    _title("What was made", console)
    cost = [many(summary.steps, "step"), duration(summary.seconds)]
    if summary.tokens_per_second is not None:
        cost.append(f"{summary.tokens_per_second:,.0f} tokens/s")
    cost.append(f"at most {bytes_text(summary.peak_bytes)}")
    labelled("training", ", ".join(cost), console=console)
    labelled("run", summary.run, console=console)
    if summary.adapter is not None:
        labelled("adapter", summary.adapter, console=console)
    _title("Try next", console)
    for line in result.next_commands:
        console.print(f"  {line}", soft_wrap=True)


def _judged(evaluation: Mapping[str, object]) -> Iterator[str]:
    """The whole verdict, of which the score is a part, and its page."""
    verdict = evaluation.get("verdict")
    if isinstance(verdict, Mapping):
        yield f"\nVerdict: {verdict['text']}"
    if report := evaluation.get("report"):
        yield f"report: {report}"


def _title(text: str, console: "Console") -> None:
    console.print(f"\n{text}", style="bold")


def _limits(interval: "Interval") -> str:
    return f"95 % interval {100 * interval.low:.0f}..{100 * interval.high:.0f}"
