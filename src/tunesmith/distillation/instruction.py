"""Answers turned into training rows: of the base under a long instruction, or of a teacher."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.adapters.loaded_base import open_base, with_template_options
from tunesmith.config.distill import DistillSettings
from tunesmith.config.methods import needs_four_bit
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Cancelled, Progress, finishing_first
from tunesmith.data.faults import Fault, refuse
from tunesmith.data.inputs import Input, read_inputs, record_path
from tunesmith.distillation.draws import DistillState, draw, open_state
from tunesmith.distillation.hosted_teacher import HostedTeacher
from tunesmith.distillation.teacher import Teacher
from tunesmith.evaluation.answers import with_answer_length
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.runs.inspect_data import tokenizer_here

SHOWN_ANSWER = 200
NO_TERMS = (
    "the terms of the teacher's outputs are not stated, and some providers' forbid training on "
    "them: read them, and state them with --teacher-terms"
)


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
    teacher: Mapping[str, object] | None = None

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

    Of ``config`` the base, the checks, the longest answer and the seed count; a teacher's answers
    depend on no base. The rows hold nothing of the instruction. Raises DataError for what cannot be
    read, for an ``out`` that is there already, and where no answer passes. Where it is cancelled,
    what was drawn is saved, and Cancelled has the result so far.
    """
    start, config = time.perf_counter(), with_answer_length(config, None)
    checks = build_checks(config.evaluate.checks)
    _require_ready(checks)
    instruction = None if asked.prompt is None else _read_instruction(Path(asked.prompt))
    inputs, notes = read_inputs(asked.inputs)
    _require_references(checks, inputs)
    made_with = _made_with(config, asked, instruction, inputs)
    state = open_state(Path(asked.out), inputs, made_with, resume=resume)
    state.teacher = _record(asked)
    for note in notes:
        progress.notice(note.code, f"{note.message} ({note.count:,} inputs)")
    example = None
    if any(draws.lacks(asked) for draws in state.draws):
        teacher = _open_teacher(config, asked, inputs, instruction, progress)
        state.instruction_tokens = teacher.instruction_tokens
        try:
            with finishing_first():  # answers that are made together count together
                draw(state, asked, teacher, progress=progress)
        except Cancelled:
            found = _result(state, asked, seconds=time.perf_counter() - start, example=None)
            raise Cancelled(result=found) from None
        example = teacher.example
    elif state.teacher is not None:
        state.save()  # its terms may be stated later
    return _result(state, asked, seconds=time.perf_counter() - start, example=example)


def _record(asked: DistillSettings) -> dict[str, object] | None:
    """Who wrote the rows, and under which terms, as far as the user stated them."""
    if asked.teacher is None:
        return None
    terms = asked.teacher_terms
    return {"model": asked.teacher_model, "endpoint": asked.teacher, "terms": terms}


def _open_teacher(
    config: RunConfig,
    asked: DistillSettings,
    inputs: Sequence[Input],
    instruction: str | None,
    progress: Progress,
) -> Teacher | HostedTeacher:
    """The model behind an endpoint, or the base under the instruction."""
    if asked.teacher is not None:
        if asked.teacher_terms is None:
            progress.notice("teacher_terms", NO_TERMS)
        tokenizer = tokenizer_here(config.model)
        return HostedTeacher(
            asked, inputs, instruction, config=config, tokenizer=tokenizer, progress=progress
        )
    assert instruction is not None, "the settings require it"
    progress.phase(f"loading {config.model}")
    loaded = open_base(
        config.model,
        dtype=config.dtype,
        device=config.device,
        four_bit=needs_four_bit(config.method.kind),
        trust_remote_code=config.trust_remote_code,
        progress=progress,
    )
    loaded = with_template_options(loaded, config.data.template_options)
    teacher = Teacher(loaded, inputs, instruction, config=config, temperature=asked.temperature)
    for text in (*loaded.base.notes, *teacher.notes):
        progress.notice("base", text)
    return teacher


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
    config: RunConfig, asked: DistillSettings, instruction: str | None, inputs: Sequence[Input]
) -> dict[str, object]:
    """What every answer depends on. Not the number of samples: more may be drawn later."""
    messages = [[asdict(message) for message in each.messages] for each in inputs]
    base: dict[str, object] = {
        "model": config.model,
        "dtype": config.dtype,
        "four_bit": needs_four_bit(config.method.kind),
    }
    if config.data.template_options:
        base["template_options"] = dict(config.data.template_options)
    return {
        "prompt": None if instruction is None else _digest(instruction),
        "inputs": _digest(json.dumps([messages, [each.reference for each in inputs]])),
        **(base if asked.teacher is None else {"teacher": [asked.teacher, asked.teacher_model]}),
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
        record_path(state.out).unlink(missing_ok=True)
        raise _nothing_passed(failed, count, example)
    return Distilled(
        out=str(state.out),
        state=str(record_path(state.out)),
        inputs=len(state.inputs),
        rows=rows,
        draws=count,
        failed=failed,
        left=left,
        instruction_tokens=state.instruction_tokens,
        seconds=seconds,
        teacher=state.teacher,
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
