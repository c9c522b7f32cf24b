"""A long instruction turned into training rows: the base answers under it, good answers stay."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import needs_four_bit
from tunesmith.config.run import DistillSettings, RunConfig
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Cancelled, Progress, finishing_first
from tunesmith.data.faults import Fault, refuse
from tunesmith.data.inputs import Input, read_inputs
from tunesmith.distillation.draws import DistillState, draw, open_state, state_path
from tunesmith.distillation.teacher import Teacher
from tunesmith.evaluation.answers import with_answer_length
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.checks.table import build_checks

SHOWN_ANSWER = 200


@dataclass(frozen=True, slots=True)
class Failed:
    """An input without an answer that passes, and how many of its answers had which fault."""

    line: int
    question: str
    faults: dict[str, int]


@dataclass(frozen=True, slots=True)
class Distilled:
    """What came out; ``left`` counts inputs that a stop left without enough draws."""

    out: str
    state: str
    inputs: int
    rows: int
    draws: int
    failed: tuple[Failed, ...]
    left: int
    instruction_tokens: int | None
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether there is more to do."""
        return self.left > 0

    def to_json(self) -> dict[str, object]:
        """What `data distill --json` prints."""
        return {**asdict(self), "stopped": self.stopped}


def distill(
    config: RunConfig,
    asked: DistillSettings,
    *,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Distilled:
    """Draw answers to every input until enough pass the config's checks; write them as rows.

    Of ``config`` the base, the checks, the longest answer and the seed count. The rows hold
    nothing of the instruction. Raises DataError for what cannot be read, for an ``out`` that is
    there already, and where no answer passes. Where it is cancelled, what was
    drawn is saved, and Cancelled has the result so far.
    """
    start, config = time.perf_counter(), with_answer_length(config, None)
    checks = build_checks(config.evaluate.checks)
    _require_ready(checks)
    instruction = _read_instruction(Path(asked.prompt))
    inputs, notes = read_inputs(asked.inputs)
    _require_references(checks, inputs)
    made_with = _made_with(config, asked, instruction, inputs)
    state = open_state(Path(asked.out), inputs, made_with, resume=resume)
    for note in notes:
        progress.notice(note.code, f"{note.message} ({note.count:,} inputs)")
    example = None
    if any(draws.lacks(asked) for draws in state.draws):
        progress.phase(f"loading {config.model}")
        loaded = open_base(
            config.model,
            dtype=config.dtype,
            device=config.device,
            four_bit=needs_four_bit(config.method.kind),
            trust_remote_code=config.trust_remote_code,
            progress=progress,
        )
        teacher = Teacher(loaded, inputs, instruction, config=config, temperature=asked.temperature)
        for note_text in (*loaded.base.notes, *teacher.notes):
            progress.notice("base", note_text)
        state.instruction_tokens = teacher.instruction_tokens
        try:
            with finishing_first():  # answers that are made together count together
                draw(state, asked, teacher, progress=progress)
        except Cancelled:
            found = _result(state, asked, seconds=time.perf_counter() - start, example=None)
            raise Cancelled(result=found) from None
        example = teacher.example
    return _result(state, asked, seconds=time.perf_counter() - start, example=example)


def _read_instruction(path: Path) -> str:
    remedy = "Name a text file that holds the instruction with --prompt."
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}.", remedy=remedy) from None
    if not text:
        raise DataError(f"{path}: holds no instruction.", remedy=remedy, code="empty_file")
    return text


def _require_ready(checks: Sequence[Check]) -> None:
    """Refuse checks that learn from a tuned run's data: there is none yet."""
    learning = [check.name for check in checks if check.fit is not None]
    if learning:
        raise ConfigError(
            f"The check {', '.join(learning)} learns from training rows, which are yet to be made.",
            remedy="Distil with the other checks, and evaluate the training with this one.",
        )


def _require_references(checks: Sequence[Check], inputs: Sequence[Input]) -> None:
    """Refuse inputs whose answers a check could not score, all of them at once."""
    faults: list[Fault] = []
    for check in checks:
        for each in inputs:
            if reason := check.reference_fault(each.reference, each.text):
                problem = Fault(
                    "no_reference",
                    f"check `{check.name}`: {reason}.",
                    "Add the answer that is wanted, or take a check that needs none.",
                )
                faults.append(problem.at(each.file, each.line))
    refuse(faults)


def _made_with(
    config: RunConfig, asked: DistillSettings, instruction: str, inputs: Sequence[Input]
) -> dict[str, object]:
    """What every answer depends on. Not the number of samples: more may be drawn later."""
    messages = [[asdict(message) for message in each.messages] for each in inputs]
    return {
        "prompt": _digest(instruction),
        "inputs": _digest(json.dumps([messages, [each.reference for each in inputs]])),
        "model": config.model,
        "dtype": config.dtype,
        "four_bit": needs_four_bit(config.method.kind),
        "keep": asked.keep,
        "temperature": asked.temperature,
        "max_new_tokens": config.evaluate.max_new_tokens,
        "seed": config.train.seed,
        "checks": [each.model_dump(mode="json", by_alias=True) for each in config.evaluate.checks],
    }


def _digest(text: str) -> str:
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _result(
    state: DistillState, asked: DistillSettings, *, seconds: float, example: tuple[str, str] | None
) -> Distilled:
    left = sum(draws.lacks(asked) for draws in state.draws)
    rows = sum(len(draws.kept) for draws in state.draws)
    count = sum(draws.count for draws in state.draws)
    failed = tuple(
        Failed(each.line, each.text, draws.faults)
        for each, draws in zip(state.inputs, state.draws, strict=True)
        if not draws.kept and not draws.lacks(asked)
    )
    if not rows and not left:
        state_path(state.out).unlink(missing_ok=True)
        raise _nothing_passed(failed, count, example)
    return Distilled(
        out=str(state.out),
        state=str(state_path(state.out)),
        inputs=len(state.inputs),
        rows=rows,
        draws=count,
        failed=failed,
        left=left,
        instruction_tokens=state.instruction_tokens,
        seconds=seconds,
    )


def _nothing_passed(
    failed: Sequence[Failed], draws: int, example: tuple[str, str] | None
) -> DataError:
    totals: Counter[str] = Counter()
    for each in failed:
        totals.update(each.faults)
    counts = ", ".join(f"{fault} {count:,}" for fault, count in totals.most_common())
    shown = ""
    if example is not None:
        fault, text = example
        cut = f"{text[:SHOWN_ANSWER]} ..." if len(text) > SHOWN_ANSWER else text
        shown = f" For example ({fault}): {cut!r}"
    return DataError(
        f"None of {pluralize(draws, 'answer')} to {pluralize(len(failed), 'input')} passes "
        f"({counts}).{shown}",
        remedy="Take a base that can follow the instruction (--model), write the instruction so "
        "that this one does, draw more (--samples), or ask less of the answers (checks, "
        "--max-new-tokens).",
        code="nothing_passed",
    )
