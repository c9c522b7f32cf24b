"""From every arm's repeated answers to what is told of consistency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.scoring import score_cases
from tunesmith.evaluate.consistency.agreement import Agreement, Label, Meaning, agreement
from tunesmith.evaluate.consistency.measure import Repeats, measure_repeats
from tunesmith.evaluate.consistency.result import Consistency
from tunesmith.evaluate.interval import is_binary

Groups = Sequence[Sequence[Case]]  # question -> its answers


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are compared: the first check, their labels, and their meaning if measured."""

    check: Check | None
    label: Label
    meaning: Meaning | None = None


def judge_consistency(
    samples: Mapping[str, Groups],
    wordings: Mapping[str, Groups],
    reading: Reading,
    *,
    temperature: float,
    seed: int,
    notes: Sequence[str] = (),
) -> Consistency:
    """Arm -> the same questions -> their answers, drawn again and asked in other words.

    Either may be empty, which is then told as not done.
    """
    tables = [
        {arm: agreements(groups, reading) for arm, groups in each.items()}
        for each in (samples, wordings)
    ]
    sampled, worded = (_measured(each, seed=seed) for each in tables)
    passes = [row.passes for table in tables for rows in table.values() for row in rows]
    return Consistency(
        sampled,
        worded,
        times=_most(samples),
        wordings=_most(wordings),
        temperature=temperature,
        graded=not is_binary([score for score in passes if score is not None]),
        notes=tuple(notes),
    )


def agreements(groups: Groups, reading: Reading) -> list[Agreement]:
    """Each question's answers; all are scored at once, as some checks take many together."""
    scores: list[float | None] = []
    if reading.check is not None:
        scores += score_cases(reading.check, [case for group in groups for case in group]).scores
    found, start = [], 0
    for group in groups:
        own = scores[start : start + len(group)] if reading.check is not None else None
        texts = [case.answer for case in group]
        found.append(agreement(texts, own, label=reading.label, meaning=reading.meaning))
        start += len(group)
    return found


def _measured(table: Mapping[str, Sequence[Agreement]], *, seed: int) -> Repeats | None:
    there = bool(table) and all(len(rows) for rows in table.values())
    return measure_repeats(table, seed=seed) if there else None


def _most(arms: Mapping[str, Groups]) -> int:
    return max((len(group) for groups in arms.values() for group in groups), default=0)
