"""`tunesmith train`: one run from a config and flags, shown while it goes, stopped in order."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import messages
from tunesmith.cli.interrupt import stop_on_signal
from tunesmith.cli.keys_help import help_with_keys
from tunesmith.cli.outcome import INTERRUPTED, Outcome, command
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunesmith.cli.keys import Key
    from tunesmith.config.run import RunConfig

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
    from tunesmith.cli.run_display import RunDisplay
    from tunesmith.cli.run_result import next_commands, show_result
    from tunesmith.workflows.run import resume_run, train_run

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
