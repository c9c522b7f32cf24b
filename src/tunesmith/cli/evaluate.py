"""`tunesmith evaluate`: did it work? A run, an adapter or a model judged on held-out rows."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import messages
from tunesmith.cli.interrupt import stop_on_signal
from tunesmith.cli.keys_help import FILE_KEYS, help_with_keys, keys_named
from tunesmith.cli.outcome import Outcome, command
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from tunesmith.cli.keys import Key
    from tunesmith.workflows.evaluate import Evaluation

STOPPING = "stopping after these answers; press again to stop at once (what was answered stays)"
KEYS = ("goal", "model", "dtype", "device", "trust_remote_code", "data.train", *FILE_KEYS)


def evaluate_keys() -> "Mapping[str, Key]":
    """The keys of a run's config that an evaluation may change."""
    from tunesmith.cli.keys import config_keys

    every = config_keys()
    mine = [name for name in every if name.startswith("evaluate.")]
    return keys_named(*KEYS, *mine, "train.threads")


@command
def evaluate(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Ask the rows of this file instead of those that the run held out."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            readable=False,
            help="Where evaluation.json and answers.jsonl go; without it the run's folder.",
        ),
    ] = None,
    _: Annotated[bool, help_with_keys(evaluate_keys)] = False,
) -> Outcome:
    """Did it work? Judge a run again: `tunesmith evaluate RUN`, or an adapter's folder, or a model.

    Base, base with your long prompt, base with examples and tuned answer the same held-out rows;
    checks and probes give the verdict. Answers are kept: what was answered is not asked again.
    """
    target, overrides = _asked(context.args)
    given = [
        *context.args,
        *(["--data", data] if data else []),
        *(["--out", str(out)] if out else []),
    ]
    go_on = f"To go on from what was answered: {shlex.join(['tunesmith', 'evaluate', *given])}"
    from tunesmith.cli.run_display import RunDisplay
    from tunesmith.workflows.evaluate import evaluate_target

    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            found = evaluate_target(target, overrides, data=data, out=out, emit=display, stop=stop)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Stopped at once. {go_on}") from None
    if found.document is None:
        raise KeyboardInterrupt(f"Stopped as you asked; answers are kept. {go_on}")
    return Outcome(found.document, show=lambda console: _show(found, display.warnings, console))


def _asked(words: list[str]) -> "tuple[str, dict[str, object]]":
    """What is evaluated, and what the flags set."""
    from tunesmith.cli.keys import read_flags

    targets, overrides = read_flags(words, known=evaluate_keys())
    if len(targets) != 1:
        given = f"not {len(targets)}: {', '.join(targets)}" if targets else "and none is given"
        raise UsageError(
            f"One run, adapter or model is evaluated, {given}.",
            remedy="Write: tunesmith evaluate runs/NAME; `tunesmith runs list` shows the runs.",
        )
    return targets[0], overrides


def _show(found: "Evaluation", warnings: list[str], console: "Console") -> None:
    from tunesmith.cli.console import harmless
    from tunesmith.cli.evaluation_display import show_evaluation
    from tunesmith.cli.run_result import show_answers

    show_evaluation(found.document or {}, console)
    show_answers(found.answers, console)
    for message in warnings:
        console.print(harmless(f"note: {message}"), style="yellow", soft_wrap=True)
    if found.folder is not None:
        console.print(f"written: {found.folder / 'evaluation.json'}", soft_wrap=True)
