"""`tunesmith data distill`: a long instruction and questions in, training rows without it out."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import INTERRUPTED, Outcome, command
from tunesmith.cli.console import harmless, messages, stop_on_signal
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.core.numbers import duration, many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.run import DistillSettings, RunConfig
    from tunesmith.distillation.instruction import Distilled

STOPPING = "stopping after the answers that are being made; press again to stop at once"
SHOWN_INPUTS, SHOWN_TEXT = 10, 60
# How a config's faults name a check, which here was given by a flag of its own.
CHECK_KEY = re.compile(r"--evaluate\.checks: `evaluate\.checks\.(\d+)(?:\.([^`]+))?`: ")


@command
def distill(  # noqa: PLR0913  # one parameter for each flag
    prompt: Annotated[str, typer.Option(metavar="FILE", help="A text file: the instruction.")],
    inputs: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="What is asked: rows of any kind with prompt, question, input or messages, or a "
            ".txt with one on each line.",
        ),
    ],
    out: Annotated[str, typer.Option(metavar="FILE", help="Where the rows go, a JSONL file.")],
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="A run's YAML file: its base, checks, longest answer and seed are used.",
        ),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="A kind (json, exact, ...), or as in a config: '{kind: regex, pattern: ^Yes}'. "
            "Repeatable.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The base that answers: short name, folder or hub id."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Answers drawn for an input, at most; 4 by default.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Different answers kept of an input, each a row; 1 by default."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Of the draws; 0.7 by default.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draws.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an earlier call saved beside FILE.")
    ] = False,
) -> Outcome:
    """Let the base answer under an instruction, and keep what passes as rows without it.

    Any method then trains on the rows, and the instruction need not be sent any more.
    """
    asked = {"prompt": prompt, "inputs": inputs, "out": out}
    few = {"samples": samples, "keep": keep, "temperature": temperature}
    base = {"model": model, "max-new-tokens": max_new_tokens, "seed": seed, "config": config}
    settings = _settings({**asked, **_given(few)})
    run = _run_config(settings, _given(base), check or [])
    again = _again({**asked, **_given({**few, **base})}, check or [])
    train = _train_commands(settings, config=config, model=model)
    return _outcome(run, settings, resume=resume, commands=(again, *train))


def _given(values: Mapping[str, object]) -> dict[str, object]:
    """The flags that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _settings(values: Mapping[str, object]) -> "DistillSettings":
    from tunesmith.config.faults import COMMAND_LINE, validate
    from tunesmith.config.run import DistillSettings

    try:
        return validate(DistillSettings, values, source=COMMAND_LINE)
    except ConfigError as error:
        raise UsageError(error.message) from None


def _run_config(
    settings: "DistillSettings", given: Mapping[str, object], checks: Sequence[str]
) -> "RunConfig":
    """The run that the rows are for: the file's, or the defaults, with the flags in front."""
    from pathlib import Path

    from tunesmith.config import load_run_config

    file = given.get("config")
    if file is not None and checks:
        raise UsageError("--check and --config both say what passes; give one of them.")
    names = {"model": "model", "max-new-tokens": "evaluate.max_new_tokens", "seed": "train.seed"}
    values: dict[str, object] = {"data": {"train": settings.out}}
    for flag, key in names.items():
        if flag in given:
            section, _, last = key.rpartition(".")
            values[section or last] = {last: given[flag]} if section else given[flag]
    if checks:
        evaluate = values.setdefault("evaluate", {})
        assert isinstance(evaluate, dict)
        evaluate["checks"] = [_check(text) for text in checks]
    try:
        return load_run_config(Path(str(file)) if file is not None else None, values)
    except ConfigError as error:
        if not checks:
            raise
        told = CHECK_KEY.sub(lambda key: _flag(checks[int(key[1])], key[2]), error.message)
        remedy = "docs/checks.md lists the kinds of checks, and what each takes."
        raise ConfigError(told, remedy=remedy) from None


def _flag(check: str, key: str | None) -> str:
    return f"--check {shlex.quote(check)}: " + (f"`{key}`: " if key and key != "kind" else "")


def _check(text: str) -> object:
    """A check as a config has it: a kind alone, or a mapping in YAML."""
    import yaml

    if not text.lstrip().startswith("{"):
        return {"kind": text}
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or error
        raise UsageError(
            f"--check {text}: not valid YAML: {problem}.",
            remedy="Put texts in quotes, or write the check in a file and give it with --config.",
        ) from None


def _again(given: Mapping[str, object], checks: Sequence[str]) -> str:
    """The command that goes on with this one."""
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    words += [word for text in checks for word in ("--check", text)]
    return shlex.join(["tunesmith", "data", "distill", *words, "--resume"])


def _train_commands(
    settings: "DistillSettings", *, config: str | None, model: str | None
) -> tuple[str, str]:
    """A run on the rows, and one whose virtual tokens start as the instruction's."""
    words = ["tunesmith", "train", *([config] if config else []), "--data", settings.out]
    words += ["--model", model] if model else []
    text = f'--method prompt --method.start_text "$(cat {shlex.quote(settings.prompt)})"'
    return shlex.join(words), f"{shlex.join(words)} {text}"


def _outcome(
    run: "RunConfig", settings: "DistillSettings", *, resume: bool, commands: Sequence[str]
) -> Outcome:
    """``commands``: the one that goes on with a stopped call, then what follows a finished one."""
    from tunesmith.cli.progress_display import RunDisplay
    from tunesmith.distillation.instruction import distill as work

    again, *train = commands
    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            done = work(run, settings, emit=display, stop=stop, resume=resume)
        except KeyboardInterrupt:
            text = f"Stopped at once; answers that were complete are saved. To go on: {again}"
            raise KeyboardInterrupt(text) from None
    following = (
        [again] if done.stopped else [f"tunesmith data show {shlex.quote(done.out)}", *train]
    )
    return Outcome(
        {**done.to_json(), "next": following},
        show=lambda console: _show(done, following, console),
        exit_status=INTERRUPTED if done.stopped else 0,
    )


def _show(done: "Distilled", commands: Sequence[str], console: "Console") -> None:
    drawn = f"{many(done.draws, 'answer')} drawn, {duration(done.seconds)}"
    head = f"{done.out}: {many(done.rows, 'row')} from {many(done.inputs, 'input')} ({drawn})"
    console.print(head, soft_wrap=True)
    if done.instruction_tokens is not None:
        count = done.instruction_tokens  # below 0: it replaces a longer inserted system prompt
        text = f"The instruction adds {many(count, 'token')} to each prompt."
        if count < 0:
            text = f"With the instruction a prompt is {many(-count, 'token')} shorter."
        console.print(f"{text} The rows are without it.", soft_wrap=True)
    if done.failed:
        _show_failed(done, console)
    if done.stopped:
        text = f"Stopped: {many(done.left, 'input')} still to be answered. What is there is saved."
        console.print(text, style="yellow", soft_wrap=True)
    console.print("\nTo go on:" if done.stopped else "\nNext:", style="bold")
    for line in commands:
        console.print(f"  {harmless(line)}", soft_wrap=True)


def _show_failed(done: "Distilled", console: "Console") -> None:
    """Inputs without a row: the first of them, and where all are."""
    text = f"{many(len(done.failed), 'input')} without an answer that passes, so without a row:"
    console.print(text, style="yellow", soft_wrap=True)
    for each in done.failed[:SHOWN_INPUTS]:
        question = each.question.replace("\n", " ")
        cut = f"{question[:SHOWN_TEXT]}..." if len(question) > SHOWN_TEXT else question
        faults = ", ".join(f"{fault} {count}" for fault, count in each.faults.items())
        console.print(harmless(f"  line {each.line}: {cut} ({faults})"), soft_wrap=True)
    if len(done.failed) > SHOWN_INPUTS:
        console.print(f"  and {len(done.failed) - SHOWN_INPUTS:,} more; --json lists all")
    console.print("More --samples with --resume may find some.", soft_wrap=True)
    if short := sum(set(each.faults) == {"cut"} for each in done.failed):
        text = f"All answers to {many(short, 'input')} were cut: give a larger --max-new-tokens and"
        console.print(f"{text} another --out.", soft_wrap=True)
