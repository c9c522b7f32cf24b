"""What is said when a run has ended: losses, scores, what was noticed, and what comes next."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from tunesmith.cli.console import harmless
from tunesmith.cli.quantities import bytes_text, duration, percent
from tunesmith.counts import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.workflows.one_run import RunSummary

SHOWN_ANSWERS, LONGEST_LINE = 3, 300
_REASONS = {
    "done": "Done",
    "stopped": "Stopped as you asked; everything is saved",
    "early": "Ended early: the held-out loss no longer fell",
}


def show_result(summary: "RunSummary", console: "Console", *, warnings: Sequence[str]) -> None:
    """The closing lines of a run; ``warnings`` were shown before and are told again."""
    for line in result_lines(summary):
        console.print(line, soft_wrap=True)
    show_answers(summary, console)
    for message in warnings:
        console.print(harmless(f"note: {message}"), style="yellow", soft_wrap=True)
    console.print("\nNext:", style="bold")
    for line in next_commands(summary):
        console.print(f"  {line}", soft_wrap=True)


def show_answers(summary: "RunSummary", console: "Console") -> None:
    """Some held-out questions with the answers before and after."""
    if summary.answers is None:
        return
    console.print("\nHeld-out questions, before and after", style="bold")
    for row in islice(summary.answers.rows(), SHOWN_ANSWERS):
        arms = _mapping(row["answers"])
        for name, text, style in (
            ("question", row["question"], ""),
            ("before", arms.get("base"), "red"),
            ("after", arms.get("tuned"), "green"),
            ("expected", row["reference"], "dim"),
        ):
            labelled(name, str(text), style=style, console=console)
        console.print()


def labelled(name: str, text: str, *, console: "Console", style: str = "") -> None:
    """One line, a long text shortened: its start says enough."""
    line = " ".join(harmless(text).split())
    shown = line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."
    console.print(f"  {name:<10} ", end="")
    console.print(shown, style=style, soft_wrap=True)


def result_lines(summary: "RunSummary") -> Iterator[str]:
    """How it ended, what it cost, what it reached, and where it is."""
    yield f"{_REASONS.get(summary.reason, summary.reason)}."
    yield (
        f"{many(summary.steps, 'step')}, {many(summary.tokens, 'token')} in "
        f"{duration(summary.seconds)} "
        f"({summary.tokens_per_second:,.0f} tokens/s, at most {bytes_text(summary.peak_bytes)})"
    )
    held_out = "" if summary.eval_loss is None else f", held-out loss {summary.eval_loss:.3f}"
    yield f"training loss {summary.train_loss:.3f}{held_out}"
    yield from evaluation_lines(summary.evaluation or {})
    if not summary.evaluation and summary.reason != "stopped":
        yield "no held-out answers were checked: loss only (`tunesmith init DATA` proposes rules)"
    yield f"run: {summary.run}"
    if summary.adapter is not None:
        yield f"adapter: {summary.adapter}"


def evaluation_lines(evaluation: Mapping[str, object]) -> Iterator[str]:
    """The verdict, then each check's score in each arm with its interval."""
    verdict = _mapping(evaluation.get("verdict")).get("text")
    if verdict:
        yield harmless(str(verdict))
    arms = _mapping(evaluation.get("arms"))
    names = dict.fromkeys(n for arm in arms.values() for n in _mapping(_mapping(arm).get("checks")))
    for name in names:
        scores = [
            f"{arm} {score_text(score)}"
            for arm, values in arms.items()
            if (score := _mapping(_mapping(_mapping(values).get("checks")).get(name)))
        ]
        yield f"check {name}: {', '.join(scores)}"
        for arm, values in arms.items():
            for said in _remarks(_mapping(_mapping(_mapping(values).get("checks")).get(name))):
                yield f"  {arm}: {harmless(said)}"
        for arm, difference in _mapping(_mapping(evaluation.get("differences")).get(name)).items():
            yield f"  {difference_text(_mapping(difference))} against {arm}"


def _remarks(check: Mapping[str, object]) -> Iterator[str]:
    """Why rows have no score, how many answers are empty, and figures that are one number."""
    if check.get("note"):
        yield str(check["note"])
    if isinstance(empty := check.get("empty"), int):
        yield f"{many(empty, 'empty answer')}"
    figures = [
        f"{name.replace('_', ' ')} {value:,.3f}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value:,}"
        for name, value in _mapping(check.get("figures")).items()
        if isinstance(value, int | float)
    ]
    if figures:
        yield ", ".join(figures)


def score_text(score: Mapping[str, object]) -> str:
    """`84 % (95 % interval 71..92 %, 50 rows)`."""
    if score.get("score") is None:
        return "no score"
    mean, low, high = (_number(score.get(key)) for key in ("score", "low", "high"))
    count = score.get("n")
    rows = f", {many(count, 'row')}" if isinstance(count, int) and count else ""
    return f"{percent(mean)} (95 % interval {100 * low:.0f}..{percent(high)}{rows})"


def difference_text(difference: Mapping[str, object]) -> str:
    """`+43 points (95 % interval +31..+54)`, from the mean and limits of a difference."""
    mean, low, high = (100 * _number(difference.get(key)) for key in ("mean", "low", "high"))
    return f"{mean:+.0f} points (95 % interval {low:+.0f}..{high:+.0f})"


def next_commands(summary: "RunSummary") -> list[str]:
    """What can be typed now: go on if it was stopped, talk to the result."""
    run = shlex.quote(summary.run)
    resume = [f"tunesmith train --resume {run}"] if summary.reason == "stopped" else []
    chat = [f"tunesmith chat {run}"] if summary.adapter is not None else []
    return [*resume, *chat, f"tunesmith runs show {run}"]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
