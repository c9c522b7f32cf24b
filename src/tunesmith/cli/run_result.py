"""What is said when a run has ended: losses, scores, what was noticed, and what comes next."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.adapters.config_file import CONFIG, read_config
from tunesmith.cli.console import harmless
from tunesmith.cli.evaluation_display import show_evaluation
from tunesmith.cli.quantities import bytes_text, duration
from tunesmith.counts import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.workflows.answers import Answers
    from tunesmith.workflows.summary import RunSummary

SHOWN_ANSWERS, LONGEST_LINE = 3, 300
TUNED = "tuned"  # the arm whose answers are those after training
_REASONS = {
    "done": "Done",
    "stopped": "Stopped as you asked; everything is saved",
    "early": "Ended early: the held-out loss no longer fell",
}


def show_result(summary: "RunSummary", console: "Console", *, warnings: Sequence[str]) -> None:
    """The closing lines of a run; ``warnings`` were shown before and are told again."""
    if summary.evaluation:
        show_evaluation(summary.evaluation, console)
        console.print()
    for line in result_lines(summary):
        console.print(line, soft_wrap=True)
    show_answers(summary.answers, console)
    for message in warnings:
        console.print(harmless(f"note: {message}"), style="yellow", soft_wrap=True)
    console.print("\nNext:", style="bold")
    for line in next_commands(summary):
        console.print(f"  {line}", soft_wrap=True)


def show_answers(answers: "Answers | None", console: "Console") -> None:
    """Some held-out questions with every arm's answer."""
    if answers is None:
        return
    console.print("\nHeld-out questions, before and after", style="bold")
    for row in islice(answers.rows(), SHOWN_ANSWERS):
        labelled("question", str(row["question"]), console=console)
        said = row["answers"]
        assert isinstance(said, Mapping)
        for arm, text in said.items():
            labelled(arm, str(text), style="green" if arm == TUNED else "red", console=console)
        labelled("expected", str(row["reference"]), style="dim", console=console)
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
    rate = summary.tokens_per_second
    speed = "" if rate is None else f" at {rate:,.0f} tokens/s"
    yield (
        f"{many(summary.steps, 'step')}, {many(summary.tokens, 'token')}{speed}; "
        f"{duration(summary.seconds)} with all that was judged; at most "
        f"{bytes_text(summary.peak_bytes)}"
    )
    held_out = "" if summary.eval_loss is None else f", held-out loss {summary.eval_loss:.3f}"
    yield f"training loss {summary.train_loss:.3f}{held_out}"
    if not summary.evaluation and summary.reason != "stopped":
        yield "no held-out answers were checked: loss only (`tunesmith init DATA` proposes rules)"
        yield f"report: {summary.report}"
    yield f"run: {summary.run}"
    if summary.adapter is not None:
        yield f"adapter: {summary.adapter}"


def next_commands(summary: "RunSummary") -> list[str]:
    """What can be typed now: go on if it was stopped, talk to the result."""
    run = shlex.quote(summary.run)
    resume = [f"tunesmith train --resume {run}"] if summary.reason == "stopped" else []
    chat = [f"tunesmith chat {run}"] if summary.adapter is not None else []
    return [*resume, *chat, *_export(summary, run), f"tunesmith runs show {run}"]


def _export(summary: "RunSummary", run: str) -> Iterator[str]:
    """How the adapter is handed over: LoRA as one model with its base, others beside it."""
    if summary.adapter is None or not Path(summary.adapter, CONFIG).is_file():
        return
    to = "merged" if "r" in read_config(Path(summary.adapter)) else "peft"
    out = shlex.quote(f"{Path(summary.run).name}-{to}")
    yield f"tunesmith adapters export {run} --to {to} --out {out}"
