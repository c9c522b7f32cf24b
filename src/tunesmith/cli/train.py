"""`tunesmith train` and `tunesmith evaluate`: a run from a config and flags, and its evaluation."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import (
    FILE_KEYS,
    INTERRUPTED,
    Outcome,
    command,
    help_with_keys,
    keys_named,
)
from tunesmith.cli.console import messages, stop_on_signal
from tunesmith.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from tunesmith.cli.keys import Key
    from tunesmith.config.run import RunConfig
    from tunesmith.runs.evaluate import Evaluation


STOPPING = "stopping after this step or these answers; again: at once (the last checkpoint stays)"
_DATA_FILES = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"}


def run_keys() -> "Mapping[str, Key]":
    """The keys of a run's config, which are flags too."""
    from tunesmith.cli.keys import config_keys

    return config_keys()


@command
def train(
    context: typer.Context,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            readable=False,
            help="Go on with the run in this folder, as it was set up.",
        ),
    ] = None,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
) -> Outcome:
    """Fine-tune: `tunesmith train CONFIG`, or `tunesmith train --data FILE` without a file.

    CONFIG is a YAML file (`tunesmith init` writes one). Any key of it can be given or overridden
    as a flag: --method.rank 8, --train.lr=1e-4. Short forms: --model, --data, --method, --out.
    """
    config = None if resume is not None else _config(context.args)
    if resume is not None and context.args:
        raise UsageError(
            f"--resume goes on with the run's own config; it does not take {context.args[0]}.",
            remedy=f"Write: tunesmith train --resume {shlex.quote(str(resume))}",
        )
    return _outcome(config, resume)


def _config(words: list[str]) -> "RunConfig":
    from tunesmith.config import load_run_config

    return load_run_config(*read_words(words, command="train"))


def read_words(words: list[str], *, command: str) -> "tuple[Path | None, dict[str, object]]":
    """The CONFIG among a command's words, if there is one, and what the flags set."""
    from tunesmith.cli.keys import read_flags

    files, overrides = read_flags(words, known=run_keys())
    if len(files) > 1:
        raise UsageError(
            f"One CONFIG can be given, not {len(files)}: {', '.join(files)}.",
            remedy="Values follow their flag: --data.train FILE.",
        )
    if files and Path(files[0]).suffix in _DATA_FILES:
        raise UsageError(
            f"{files[0]} is a data file, and CONFIG is a YAML file.",
            remedy=f"Write: tunesmith {command} --data {shlex.quote(files[0])}, or let "
            f"`tunesmith init {shlex.quote(files[0])}` write a config.",
        )
    return Path(files[0]) if files else None, overrides


def _outcome(config: "RunConfig | None", resume: Path | None) -> Outcome:
    from tunesmith.cli.progress_display import RunDisplay
    from tunesmith.cli.results import next_commands, show_result
    from tunesmith.runs.run import resume_run, train_run

    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            if resume is not None:
                summary = resume_run(resume, emit=display, stop=stop)
            else:
                assert config is not None
                summary = train_run(config, emit=display, stop=stop)
        except KeyboardInterrupt:
            run = resume or display.run_folder or _begun(config)
            raise KeyboardInterrupt(_go_on(run)) from None
    return Outcome(
        {**summary.to_json(), "next": next_commands(summary)},
        show=lambda console: show_result(summary, console, warnings=display.warnings),
        exit_status=INTERRUPTED if summary.reason == "stopped" else 0,
    )


def _begun(config: "RunConfig | None") -> Path | None:
    """The folder that was asked for, if the run got as far as to write its config."""
    out = Path(config.out) if config is not None and config.out is not None else None
    return out if out is not None and (out / "config.yaml").is_file() else None


def _go_on(run: Path | None) -> str:
    """What to say when a run was cut off, which has no summary then."""
    if run is None:
        return "Stopped at once. `tunesmith runs list` shows the run if it had begun."
    command = f"tunesmith train --resume {shlex.quote(str(run))}"
    return f"Stopped at once; what was saved before stays. To go on: {command}"


STOPPING_ANSWERS = (
    "stopping after these answers; press again to stop at once (what was answered stays)"
)
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
    from tunesmith.cli.progress_display import RunDisplay
    from tunesmith.runs.evaluate import evaluate_target

    with RunDisplay(messages()) as display, stop_on_signal(STOPPING_ANSWERS) as stop:
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
    from tunesmith.cli.results import show_answers, show_evaluation

    show_evaluation(found.document or {}, console)
    show_answers(found.answers, console)
    for message in warnings:
        console.print(harmless(f"note: {message}"), style="yellow", soft_wrap=True)
    if found.folder is not None:
        console.print(f"written: {found.folder / 'evaluation.json'}", soft_wrap=True)
