"""`init`, `demo` and `doctor`: the first hour with a machine and with one's own data."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith import SPIN_COUNT
from tunesmith.api.results import cost_text, labelled, show_answers, text_in
from tunesmith.api.settings import config_of, overrides_of
from tunesmith.api.show import Document, Outcome, line, print_facts, show_next
from tunesmith.api.sources import Data, one_file
from tunesmith.api.train import STOPPING, finished
from tunesmith.api.work import OnEvent, torch_came_first_text, working
from tunesmith.config.settings import EMPTY
from tunesmith.core.errors import RunError
from tunesmith.core.language import localized
from tunesmith.core.numbers import bytes_text, percent, pluralize
from tunesmith.core.progress import Cancelled

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.evaluation.intervals import Interval
    from tunesmith.setup.demo import DemoResult
    from tunesmith.setup.draft_config import Draft


@dataclass(frozen=True, slots=True)
class Demo(Outcome):
    """The demo's run, and its answers before and after."""

    found: "DemoResult"

    def to_json(self) -> dict[str, object]:
        """What `demo --json` prints."""
        result = self.found
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

    def show(self, console: "Console") -> None:
        """Answers, scores, what was made, what to try next."""
        result = self.found
        show_answers(result.summary.answers, console)
        rows = pluralize(result.after.n, "held-out row")
        line(console, f"\nScore of the check `{result.check}` on {rows}", style="bold")
        for name, interval in (("before", result.before), ("after", result.after)):
            score = f"{percent(interval.mean)} ({_limits(interval)})"
            labelled(name, localized(score), console=console)
        points = f"{100 * result.difference.mean:+.0f} points ({_limits(result.difference)})"
        labelled("difference", localized(points), console=console)
        summary = result.summary
        for text in _verdict(summary.evaluation or {}):
            line(console, text)
        line(console, "\nWhat was made", style="bold")
        labelled("training", localized(cost_text(summary)), console=console)
        labelled("run", summary.run, console=console)
        if summary.adapter is not None:
            labelled("adapter", summary.adapter, console=console)
        show_next(console, result.next_commands, title="\nTry next")


def demo(
    out: str | Path = "runs/demo",
    *,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> Demo:
    """A tour: fetch the default model, fine-tune it in ``out``, show that it changed.

    An earlier demo there is replaced. Raises RunError where ``out`` holds anything else, Cancelled
    after Ctrl-C.
    """
    resume = f"To resume: tunesmith train --resume {shlex.quote(str(out))}, or start it again."
    with working(
        STOPPING,
        stopped=lambda _: f"Stopped at once. {resume}",
        on_event=on_event,
        progress=progress,
    ) as work:
        from tunesmith.setup.demo import demo as run_demo

        try:
            result = run_demo(out=Path(out), progress=work.progress)
        except RunError as error:
            if error.code != "stopped":
                raise
            raise Cancelled(str(error)) from None
        finished(result.summary, work)
    return Demo(result)


def _interval(interval: "Interval") -> dict[str, object]:
    return {"score": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def _verdict(evaluation: Document) -> Iterator[str]:
    """The whole verdict, of which the score is a part, and its page."""
    if verdict := evaluation.get("verdict"):
        yield f"\nVerdict: {text_in(verdict)}"
    if report := evaluation.get("report"):
        yield f"report: {report}"


def _limits(interval: "Interval") -> str:
    return f"95 % interval {100 * interval.low:.0f}..{100 * interval.high:.0f}"


@dataclass(frozen=True, slots=True)
class Doctor(Outcome):
    """What of this machine matters to a run."""

    facts: Document

    def to_json(self) -> Document:
        """What `doctor --json` prints."""
        return self.facts

    def show(self, console: "Console") -> None:
        """A page for a bug report."""
        print_facts(console, _lines(self.facts))


def doctor() -> Doctor:
    """Processor, memory, GPU, cache and versions."""
    from tunesmith.setup.doctor import examine

    return Doctor(examine())


def _lines(facts: Document) -> Iterator[tuple[str, str]]:
    processor, memory, cache = facts["processor"], facts["memory"], facts["cache"]
    threads = pluralize(processor["threads"], "thread")
    yield "platform", facts["platform"]
    yield "processor", f"{processor['name']} ({processor['architecture']})"
    cores = f"{processor['cores']}, usable {processor['usable_cores']}"
    yield "cores", f"{cores}, torch uses {threads}"
    spins = processor.get("spin_count")
    yield SPIN_COUNT, str(spins) if spins else torch_came_first_text()
    formats = ", ".join(processor["bfloat16"]) or "none"
    yield "instructions", f"{processor['instructions']}; bf16: {formats}"
    yield "number format", facts["dtype"]["reason"]
    total, available = _size(memory["total_bytes"]), _size(memory["available_bytes"])
    yield "memory", f"{total}, of which a run may take {available} now"
    for gpu in facts["gpus"]:
        yield "GPU", f"{gpu['name']}, {_size(gpu['bytes'])}, {gpu['bfloat16']}"
    if not facts["gpus"]:
        yield "GPU", "none that torch can use"
    for feature in facts["features"]:
        yield feature["name"], f"{'used' if feature['used'] else 'not used'}: {feature['reason']}"
    yield "cache", f"{cache['folder']}, {_size(cache['bytes'])}"
    yield "cached models", ", ".join(cache["models"]) or "none (`tunesmith model pull NAME`)"
    disk = facts["disk"]
    yield "disk", f"{_size(disk['free_bytes'])} free in {disk['folder']}"
    versions = facts["versions"].items()
    yield "versions", ", ".join(f"{name} {v or 'not installed'}" for name, v in versions)
    yield "python", facts["python"]


def _size(count: int | None) -> str:
    return "unknown" if count is None else bytes_text(count)


SHOWN_CAUSES = 5


@dataclass(frozen=True, slots=True)
class Drafted(Outcome):
    """A commented config that was written, and the checks that the answers suggest."""

    found: "Draft"
    out: Path
    words: tuple[str, ...]

    @property
    def notes(self) -> Sequence[str]:
        """What the default base does not read, the first causes for which a run refuses the data,
        and what is worth knowing before one.
        """
        from tunesmith.data.faults import cause_text, causes

        unread = [f"note: {self.found.unread}"] * bool(self.found.unread)
        faults, known = self.found.faults, [f"note: {text}" for text in self.found.notes]
        if not faults:
            return [*unread, *known]
        shown = causes(faults)[:SHOWN_CAUSES]
        left = len(faults) - sum(map(len, shown))
        return (
            *unread,
            f"note: {pluralize(len(faults), 'fault')}, for which a run refuses this data:",
            *(f"  {cause_text(alike)}" for alike in shown),
            *([f"  ... and {left:,} more"] if left else []),
            f"All are listed by: tunesmith data check {shlex.join(self.words)}",
            *known,
        )

    @property
    def next_commands(self) -> list[str]:
        """A run, without rows that are empty; where it would refuse others, their list first."""
        train = f"tunesmith train {shlex.quote(str(self.out))}"
        codes = {fault.code for fault in self.found.faults}
        if codes == {EMPTY}:
            return [f"{train} --data.drop {EMPTY}"]
        return [f"tunesmith data check {shlex.join(self.words)}", train] if codes else [train]

    def to_json(self) -> dict[str, object]:
        """What `init --json` prints."""
        draft = self.found
        return {
            "out": str(self.out),
            "format": draft.format,
            "rows": draft.rows,
            "checks": [
                {**each.check, "reason": each.reason, "score": each.score, "scored": each.scored}
                for each in draft.proposals
            ],
            "system": draft.system,
            "notes": list(draft.notes),
            "faults": len(draft.faults),
            "language_fit": draft.unread or None,
        }

    def show(self, console: "Console") -> None:
        """Its checks with their reasons, and what comes next."""
        draft, out = self.found, self.out
        line(console, f"{out}: {pluralize(draft.rows, 'row')}, format {draft.format}")
        for proposal in draft.proposals:
            line(console, f"check {proposal.check['kind']}: {proposal.remark}")
        if not draft.proposals:
            line(
                console, "no check: nothing in the answers suggests a rule; add one if you have it"
            )
        if draft.system is not None:
            line(console, f"system prompt, proposed in the file as a comment: {draft.system}")
        show_next(console, self.next_commands)


def init(
    data: Data,
    out: str | Path = "tunesmith.yaml",
    *,
    settings: Mapping[str, object] | None = None,
    words: Sequence[str] = (),
) -> Drafted:
    """Write a commented config for ``data`` to ``out``: its format, and checks that it suggests.

    ``settings``: how it is read, as ``{"data.format": "alpaca"}``, and ``data.system``, a system
    prompt of your own; ``words``: how a command line names it. Raises DataError where no row can be
    read, ConfigError where ``out`` is there already.

    >>> ts.init("rows.jsonl")  # doctest: +SKIP
    """
    from tunesmith.runs.inputs import require_files, require_new

    config = config_of(overrides_of(one_file(data, "init"), {"settings": settings}))
    require_files(config.data)
    require_new(Path(out))
    from tunesmith.runs.inspect_data import tokenizer_here
    from tunesmith.setup.draft_config import draft_config, write_draft

    draft = draft_config(config.data, tokenizer=tokenizer_here(config.model))
    write_draft(draft, Path(out))
    return Drafted(draft, Path(out), tuple(words or [str(config.data.train)]))
