"""`distill`: a long instruction and inputs in, training rows without the instruction out."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.settings import CheckGiven, config_of, overrides_of, plain
from tunesmith.api.show import Outcome, line, paragraph, show_next
from tunesmith.api.sources import Data, one_file
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.core.numbers import duration, pluralize
from tunesmith.core.progress import Cancelled

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.distill import DistillSettings
    from tunesmith.config.run import RunConfig
    from tunesmith.distillation.instruction import Distilled as Found

STOPPING = "stopping after the answers that are being made; press again to stop at once"
SHOWN_INPUTS, SHOWN_TEXT = 10, 60
# How a config's faults name a check, which here was given by itself.
CHECK_KEY = re.compile(r"settings: `evaluate\.checks\.(\d+)(?:\.([^`]+))?`: ")


@dataclass(frozen=True, slots=True)
class DistilledRows(Outcome):
    """The rows that were made, the inputs without one, and the commands that come next."""

    found: "Found"
    next: tuple[str, ...]

    @property
    def out(self) -> Path:
        """The file of rows."""
        return Path(self.found.out)

    def to_json(self) -> dict[str, object]:
        """What `data distill --json` prints."""
        return {**self.found.to_json(), "next": list(self.next)}

    def show(self, console: "Console") -> None:
        """How many rows there are, and which inputs have none."""
        done = self.found
        drawn = f"{pluralize(done.draws, 'answer')} drawn, {duration(done.seconds)}"
        made = f"{pluralize(done.rows, 'row')} from {pluralize(done.inputs, 'input')}"
        line(console, f"{done.out}: {made} ({drawn})")
        if done.instruction_tokens is not None:
            count = done.instruction_tokens  # below 0: it replaces a longer inserted system prompt
            text = f"The instruction adds {pluralize(count, 'token')} to each prompt."
            if count < 0:
                text = f"With the instruction a prompt is {pluralize(-count, 'token')} shorter."
            line(console, f"{text} The rows are without it.")
        if done.failed:
            _show_failed(done, console)
        if done.stopped:
            left = f"{pluralize(done.left, 'input')} still to be answered"
            line(console, f"Stopped: {left}. The rows so far are saved.", style="yellow")
        show_next(console, self.next, title="\nTo resume:" if done.stopped else "\nNext:")


def distill(  # noqa: PLR0913  # one keyword for each setting
    prompt: str | Path | None,
    inputs: Data,
    out: str | Path,
    *,
    checks: Sequence[CheckGiven] = (),
    config: str | Path | None = None,
    model: str | None = None,
    samples: int | None = None,
    keep: int | None = None,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    seed: int | None = None,
    teacher: str | None = None,
    teacher_model: str | None = None,
    teacher_key: str | None = None,
    teacher_terms: str | None = None,
    resume: bool = False,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> DistilledRows:
    """Let the base answer ``inputs`` under an instruction; what passes becomes rows without it.

    ``prompt``: the file with the instruction. With ``teacher``, the address of an OpenAI-compatible
    endpoint, ``teacher_model`` answers there in place of the base, and ``prompt`` may be None. Its
    key is in the environment variable ``teacher_key`` (`none`: it needs none), and
    ``teacher_terms`` are the terms of its outputs, which the record beside the rows and an
    adapter's card name. ``inputs``: rows with what is asked, or a .txt with
    one on each line. ``out``: the JSONL file that is written. ``checks`` decide what passes;
    ``config``: a run's file, whose base, checks, longest answer and seed are used. At most
    ``samples`` answers are drawn for an input (4), ``keep`` different ones are kept (1).

    Raises DataError where nothing passes, Cancelled after Ctrl-C with the rows so far;
    ``resume=True`` continues from them.

    >>> ts.distill("instruction.txt", "questions.jsonl", "rows.jsonl")  # doctest: +SKIP
    """
    asked = _given(prompt=None if prompt is None else str(prompt))
    asked |= {"inputs": one_file(inputs, "distill"), "out": str(out)}
    asked |= _given(samples=samples, keep=keep, temperature=temperature)
    asked |= _given(teacher=teacher, teacher_model=teacher_model)
    asked |= _given(teacher_key=teacher_key, teacher_terms=teacher_terms)
    settings = _settings(asked)
    base = _given(model=model, max_new_tokens=max_new_tokens, seed=seed)
    run = _run_config(settings, base, checks, config)
    again = _again(asked | base | _given(config=config), checks)
    train = _train_commands(settings, config=config, model=model)
    stopped = f"Stopped at once; answers that were complete are saved. To resume: {again}"
    with working(STOPPING, stopped=lambda _: stopped, on_event=on_event, progress=progress) as work:
        from tunesmith.distillation.instruction import distill as make

        try:
            done = make(run, settings, progress=work.progress, resume=resume)
        except Cancelled as cancelled:
            found = cancelled.result  # None before there was anything
            rows = DistilledRows(found, (again,)) if found is not None else None
            raise Cancelled(stopped, rows) from None
    return DistilledRows(done, (f"tunesmith data show {shlex.quote(done.out)}", *train))


def _given(**values: object) -> dict[str, object]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _settings(values: Mapping[str, object]) -> "DistillSettings":
    from tunesmith.config.distill import DistillSettings
    from tunesmith.config.faults import COMMAND_LINE, validate

    try:
        return validate(DistillSettings, values, source=COMMAND_LINE)
    except ConfigError as error:
        raise UsageError(error.message) from None


def _run_config(
    settings: "DistillSettings",
    given: Mapping[str, object],
    checks: Sequence[CheckGiven],
    config: str | Path | None,
) -> "RunConfig":
    """The run that the rows are for: the file's, or the defaults, overridden by the keywords."""
    if config is not None and checks:
        raise UsageError("checks and config both say what passes; give one of them.")
    longest = {"evaluate.max_new_tokens": given.get("max_new_tokens")}
    keywords = {name: given[name] for name in ("model", "seed") if name in given}
    keywords |= {"checks": list(checks)} if checks else {}
    keywords |= {"settings": longest} if "max_new_tokens" in given else {}
    try:
        return config_of(overrides_of(settings.out, keywords), config)
    except ConfigError as error:
        if not checks:
            raise
        text = CHECK_KEY.sub(lambda key: _place(_text(checks[int(key[1])]), key[2]), error.message)
        remedy = "docs/checks.md lists the kinds of checks, and what each takes."
        raise ConfigError(text, remedy=remedy) from None


def _place(check: str, key: str | None) -> str:
    return f"check {check}: " + (f"`{key}`: " if key and key != "kind" else "")


def _text(check: CheckGiven) -> str:
    """A check as a word of a command line."""
    import yaml

    if isinstance(check, str):
        return check
    return yaml.safe_dump(plain(check), default_flow_style=True, width=10**6).strip()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _again(given: Mapping[str, object], checks: Iterable[CheckGiven]) -> str:
    """The command that resumes this one."""
    words = [word for name, value in given.items() for word in (_flag(name), str(value))]
    words += [word for check in checks for word in ("--check", _text(check))]
    return shlex.join(["tunesmith", "data", "distill", *words, "--resume"])


def _train_commands(
    settings: "DistillSettings", *, config: str | Path | None, model: str | None
) -> tuple[str, ...]:
    """A run on the rows, and one whose virtual tokens start as the instruction's, if any."""
    words = ["tunesmith", "train", *([str(config)] if config else []), "--data", settings.out]
    words += ["--model", model] if model else []
    if settings.prompt is None:
        return (shlex.join(words),)
    text = f'--method prompt --method.init_text "$(cat {shlex.quote(settings.prompt)})"'
    return shlex.join(words), f"{shlex.join(words)} {text}"


def _show_failed(done: "Found", console: "Console") -> None:
    """Inputs without a row: the first of them, and where all are."""
    text = (
        f"{pluralize(len(done.failed), 'input')} without an answer that passes, so without a row:"
    )
    line(console, text, style="yellow")
    for each in done.failed[:SHOWN_INPUTS]:
        question = each.question.replace("\n", " ")
        cut = f"{question[:SHOWN_TEXT]}..." if len(question) > SHOWN_TEXT else question
        faults = ", ".join(f"{fault} {count}" for fault, count in each.faults.items())
        line(console, f"  line {each.line}: {cut} ({faults})")
    if len(done.failed) > SHOWN_INPUTS:
        paragraph(console, f"  and {len(done.failed) - SHOWN_INPUTS:,} more; --json lists all")
    line(console, "More samples may find some: resume with a larger number.")
    if short := sum(set(each.faults) == {"cut"} for each in done.failed):
        text = f"All answers to {pluralize(short, 'input')} were cut: give a larger max_new_tokens"
        line(console, f"{text} and another out.")
