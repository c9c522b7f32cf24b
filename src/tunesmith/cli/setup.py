"""`tunesmith demo`, `doctor` and `init`: the commands of the first hour."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tunesmith.cli.command import FILE_KEYS, Document, Outcome, command, help_with_keys, keys_named
from tunesmith.cli.console import harmless, messages, print_facts, say, stop_on_signal
from tunesmith.cli.results import labelled, show_answers
from tunesmith.cli.train import STOPPING
from tunesmith.core.errors import RunError
from tunesmith.core.numbers import bytes_text, duration, many, percent

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.data.faults import Fault
    from tunesmith.evaluation.intervals import Interval
    from tunesmith.setup.demo import DemoResult
    from tunesmith.setup.draft_config import Draft


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
    from tunesmith.cli.progress_display import RunDisplay

    say(INTRODUCTION)
    from tunesmith.setup.demo import demo as run_demo

    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            result = run_demo(out=out, emit=display, stop=stop)
        except RunError as error:
            if error.code != "stopped":
                raise
            raise KeyboardInterrupt(str(error)) from None
    return Outcome(_document(result), show=lambda console: _show_demo(result, console))


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


def _show_demo(result: "DemoResult", console: "Console") -> None:
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


Facts = Mapping[str, object]


@command
def doctor() -> Outcome:
    """Processor, memory, GPU, cache and versions: one page for a bug report."""
    from tunesmith.setup.doctor import examine

    facts = examine()
    return Outcome(facts, show=lambda console: print_facts(console, _lines(facts)))


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    processor, memory, cache = (cast(Facts, facts[key]) for key in ("processor", "memory", "cache"))
    formats = cast("list[str]", processor["bfloat16"])
    threads = many(cast(int, processor["threads"]), "thread")
    yield "platform", str(facts["platform"])
    yield "processor", f"{processor['name']} ({processor['architecture']})"
    cores = f"{processor['cores']}, usable {processor['usable_cores']}"
    yield "cores", f"{cores}, torch uses {threads}"
    yield "instructions", f"{processor['instructions']}; bf16: {', '.join(formats) or 'none'}"
    yield "number format", str(cast(Facts, facts["dtype"])["reason"])
    total, available = _size(memory["total_bytes"]), _size(memory["available_bytes"])
    yield "memory", f"{total}, of which a run may take {available} now"
    gpus = cast("list[Facts]", facts["gpus"])
    for gpu in gpus:
        yield "GPU", f"{gpu['name']}, {_size(gpu['bytes'])}, {gpu['bfloat16']}"
    if not gpus:
        yield "GPU", "none that torch can use"
    yield "cache", f"{cache['folder']}, {_size(cache['bytes'])}"
    models = cast("list[str]", cache["models"])
    yield "cached models", ", ".join(models) or "none (`tunesmith model pull NAME`)"
    disk = cast(Facts, facts["disk"])
    yield "disk", f"{_size(disk['free_bytes'])} free in {disk['folder']}"
    versions = cast("Mapping[str, str | None]", facts["versions"])
    yield "versions", ", ".join(f"{name} {v or 'not installed'}" for name, v in versions.items())
    yield "python", str(facts["python"])


def _size(count: object) -> str:
    return bytes_text(count) if isinstance(count, int) else "unknown"


CONFIG, SHOWN_FAULTS = Path("tunesmith.yaml"), 5


@command
def init(
    context: typer.Context,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The training rows: a file of any kind, a folder.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", readable=False, help="Where the config goes.")
    ] = CONFIG,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*FILE_KEYS))] = False,
) -> Outcome:
    """Write a commented config for DATA: its format, and checks that its answers suggest."""
    from tunesmith.cli.keys import config_of_file
    from tunesmith.setup.draft_config import draft_config, write_draft

    words = context.args
    draft = draft_config(config_of_file(data, words, known=keys_named(*FILE_KEYS)).data)
    write_draft(draft, out)
    if draft.faults:
        _tell_faults(draft.faults, shlex.join([data, *words]))
    document = {
        "out": out,
        "format": draft.format,
        "rows": draft.rows,
        "checks": [{**each.check, "reason": each.reason} for each in draft.proposals],
        "faults": len(draft.faults),
    }
    return Outcome(document, show=lambda console: _show_draft(draft, out, console))


def _tell_faults(faults: "Sequence[Fault]", words: str) -> None:
    """How many there are, the first of them, and what lists all."""
    count = many(len(faults), "fault")
    say(f"note: {count}, for which a run refuses this data:", style="yellow")
    for fault in faults[:SHOWN_FAULTS]:
        say(f"  {fault}", style="yellow")
    if len(faults) > SHOWN_FAULTS:
        say(f"  ... and {len(faults) - SHOWN_FAULTS:,} more", style="yellow")
    say(f"All are listed by: tunesmith data check {words}")


def _show_draft(draft: "Draft", out: Path, console: "Console") -> None:
    console.print(f"{out}: {many(draft.rows, 'row')}, format {draft.format}", soft_wrap=True)
    for proposal in draft.proposals:
        text = f"check {proposal.check['kind']}: {proposal.reason}"
        console.print(harmless(text), soft_wrap=True)
    if not draft.proposals:
        console.print("no check: nothing in the answers suggests a rule; add one if you have it")
    console.print("\nNext:", style="bold")
    console.print(f"  tunesmith train {shlex.quote(str(out))}", soft_wrap=True)
