"""The draws of a distillation, kept beside its rows, sample by sample until enough pass."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from tunesmith.config.distill import DistillSettings
from tunesmith.core import files
from tunesmith.core.errors import DataError
from tunesmith.core.progress import Phase, Progress, time_left
from tunesmith.data.files.json_text import JSON_LINES
from tunesmith.data.inputs import Input, record_path
from tunesmith.distillation.teacher import CheckedAnswer

SAME_ANSWER = "same_answer"


@dataclass(slots=True)
class Draws:
    """One input: how many answers were drawn, which are kept, and why the others are not."""

    count: int = 0
    kept: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def add_(self, answer: str, fault: str | None) -> None:
        """Count one more answer, and keep it unless it has a fault or is kept already."""
        self.count += 1
        if fault is None and answer in self.kept:
            fault = SAME_ANSWER
        if fault is None:
            self.kept.append(answer)
        else:
            self.faults[fault] = self.faults.get(fault, 0) + 1

    def lacks(self, asked: DistillSettings) -> bool:
        """Whether more answers are wanted and may be drawn."""
        return self.count < asked.samples and len(self.kept) < asked.keep


@dataclass(slots=True)
class DistillState:
    """The draws of every input, and the settings that they depend on."""

    out: Path
    inputs: Sequence[Input]
    made_with: Mapping[str, object]
    draws: list[Draws]
    instruction_tokens: int | None = None
    teacher: Mapping[str, object] | None = None

    def rows(self) -> Iterator[str]:
        """Each kept answer after its input as a chat row, in the order of the inputs.

        Earlier answers of a conversation weigh 0: only the new one is trained.
        """
        for each, draws in zip(self.inputs, self.draws, strict=True):
            asked = [
                {"role": m.role, "content": m.content}
                | {k: v for k, v in (("name", m.name), ("thinking", m.thinking)) if v}
                | ({"weight": 0} if m.role == "assistant" else {})
                for m in each.messages
            ]
            for answer in draws.kept:
                row = {"messages": [*asked, {"role": "assistant", "content": answer}]}
                yield json.dumps(row, ensure_ascii=False)

    def save(self) -> None:
        """Write what was drawn, if anything was."""
        if any(draws.count for draws in self.draws):
            files.write_json(
                record_path(self.out),
                {
                    "made_with": self.made_with,
                    "instruction_tokens": self.instruction_tokens,
                    **({"teacher": self.teacher} if self.teacher else {}),
                    "inputs": [asdict(draws) for draws in self.draws],
                },
            )

    def write_rows(self) -> None:
        """Write the rows that there are, if there are any."""
        if rows := list(self.rows()):
            files.write_text(self.out, "".join(f"{row}\n" for row in rows))


def open_state(
    out: Path, inputs: Sequence[Input], made_with: Mapping[str, object], *, resume: bool
) -> DistillState:
    """An empty state, or with ``resume`` the saved one.

    Raises DataError where ``out`` could not be read as rows or is there already; with ``resume``
    where nothing was saved, or under other settings, or where ``out`` has other rows since.
    """
    path = record_path(out)
    if out.suffix.lower() not in JSON_LINES:
        raise DataError(
            f"{out}: rows are written as JSON lines, not as `{out.suffix or 'no suffix'}`.",
            remedy=f"Name a file that ends in {' or '.join(JSON_LINES)}.",
            code="unknown_file_kind",
        )
    if not resume:
        _refuse_existing(out, path)
        return DistillState(out, inputs, made_with, [Draws() for _ in inputs])
    state = _read(path, out, inputs, made_with)
    # not splitlines(): texts may hold other line ends
    lines = out.read_text(encoding="utf-8").split("\n") if out.is_file() else []
    if foreign := len({line for line in lines if line} - set(state.rows())):
        raise DataError(
            f"{out}: {foreign} of its rows were changed or added since; resuming would lose them.",
            remedy="Keep your rows in another file, then remove or rename this one.",
            code="changed",
        )
    return state


def _refuse_existing(out: Path, path: Path) -> None:
    found = next((each for each in (out, path) if each.exists()), None)
    if found is not None:
        what = "Continue it with --resume, name" if path.exists() else "Name"
        raise DataError(
            f"{found}: exists already, and is not overwritten.",
            remedy=f"{what} another file with --out, or remove this one.",
            code="exists",
        )


def _read(
    path: Path, out: Path, inputs: Sequence[Input], made_with: Mapping[str, object]
) -> DistillState:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        draws = [Draws(**each) for each in saved["inputs"]]
        before: dict[str, object] = {"four_bit": False, **saved["made_with"]}
        tokens: int | None = saved["instruction_tokens"]
    except FileNotFoundError:
        raise DataError(
            f"There is nothing to resume: {path} does not exist.",
            remedy="Leave --resume out.",
            code="nothing_saved",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be resumed ({error!r}).", remedy="Remove it and start anew."
        ) from None
    now = json.loads(json.dumps(made_with))
    changed = [
        f"{name} (was {before.get(name)}, is {now[name]})"
        for name in now
        if before.get(name) != now[name]
    ]
    if changed:
        raise DataError(
            f"{path}: was made with other settings: {', '.join(changed)}.",
            remedy="Give the same ones again, or another --out.",
            code="other_settings",
        )
    return DistillState(out, inputs, made_with, draws, tokens)


class Answering(Protocol):
    """Who answers: ``wave`` inputs together, those of a like ``length``."""

    wave: int

    def length(self, number: int) -> int:
        """By which inputs are put together."""

    def answers(self, numbers: Sequence[int], sample: int) -> Iterator[CheckedAnswer]:
        """One answer to each of these inputs."""


PHASE = "answering the inputs"
SECONDS_BETWEEN_SAVES = 20.0


def draw(
    state: DistillState,
    asked: DistillSettings,
    teacher: Answering,
    *,
    progress: Progress,
) -> None:
    """Draw into ``state`` until no input lacks an answer, and save it, also where it is cancelled.

    What counts is whole waves of inputs that are answered together. A resumed call so computes the
    same waves as an unbroken one, and the same answers to the last bit.
    """
    start = saved_at = time.monotonic()
    made = 0

    def report(left: float) -> None:
        """Inputs that are done; ``left`` draws are to come."""
        total = len(state.draws)
        done = total - sum(draws.lacks(asked) for draws in state.draws)
        seconds = time_left(time.monotonic() - start, made, left)
        progress.report(Phase(PHASE, done, total, seconds))

    try:
        waves = (wave for i in range(asked.samples) for wave in _waves(state, asked, teacher, i))
        for sample, wave in waves:
            progress.check()
            left = draws_left(state, asked)
            report(left)
            answers = {}
            for answer in teacher.answers(wave, sample):
                answers[answer.number] = answer
                made += 1
                report(max(0.0, left - len(answers)))
            for number in wave:  # all of them or none
                state.draws[number].add_(answers[number].text, answers[number].fault)
            if time.monotonic() - saved_at >= SECONDS_BETWEEN_SAVES:
                state.save()
                saved_at = time.monotonic()
    finally:
        state.save()
        state.write_rows()


def _waves(
    state: DistillState, asked: DistillSettings, teacher: Answering, sample: int
) -> list[tuple[int, list[int]]]:
    """Inputs whose draw number ``sample`` is due, those of like lengths together."""
    due = [i for i, each in enumerate(state.draws) if each.count == sample and each.lacks(asked)]
    due.sort(key=teacher.length)
    size = teacher.wave
    return [(sample, due[start : start + size]) for start in range(0, len(due), size)]


def draws_left(state: DistillState, asked: DistillSettings) -> float:
    """How many draws are still to come, if as large a share passes as did so far."""
    kept = sum(len(draws.kept) for draws in state.draws)
    share = (1 + kept) / (1 + sum(draws.count for draws in state.draws))
    return sum(
        min(asked.samples - draws.count, (asked.keep - len(draws.kept)) / share)
        for draws in state.draws
        if draws.lacks(asked)
    )
