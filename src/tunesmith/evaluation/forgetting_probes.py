"""What is a probe: questions with choices, or plain text, and how do two arms compare on it?"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from tunesmith.core.numbers import pluralize
from tunesmith.evaluation.comparison import rows_needed
from tunesmith.evaluation.intervals import (
    Interval,
    differences_of,
    paired_difference,
    unbounded_interval,
)
from tunesmith.evaluation.likelihoods import Logs, Reader, ScoredSpan

DELIMITER = " "  # between context and choice
ALL = "all questions"
FIRST, ENOUGH_MORE = 300, 100  # questions of a first look, and what is worth a second
HARDLY = 0.25  # of prompts that a base passes: it hardly has the ability
Measure = Literal["accuracy", "perplexity", "passed"]


@dataclass(frozen=True, slots=True)
class ProbeAnswers:
    """Which questions an arm got right, 1 or 0: by log-likelihood, and by that per character.

    They are lm-eval's `acc` and `acc_norm`.
    """

    right: tuple[int, ...]
    right_norm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProbeMeasure:
    """A probe's measure in both arms.

    ``difference`` gives, at a level, the interval of tuned minus base (accuracy, prompts passed) or
    of tuned over base less 1 (perplexity); ``rows_needed`` how many rows would separate it from a
    value, at an error on one side. ``answers`` and ``passed``: both arms', where there are
    questions or prompts. ``part``: another one measures all that this one does, so it alone need
    not be kept. ``looks``: so often it may be decided on, with more rows each time.
    """

    probe: str
    measure: Measure
    base: float
    tuned: float
    difference: Callable[[float], Interval]
    rows_needed: Callable[[float, float], int | None]
    details: Mapping[str, object]
    answers: tuple[ProbeAnswers, ProbeAnswers] | None = None
    passed: tuple[Sequence[bool], Sequence[bool]] | None = None
    part: bool = False
    looks: int = 1

    def level(self, level: float) -> float:
        """Of an interval at one look, so that those of all looks together have this level."""
        return 1 - (1 - level) / self.looks

    @property
    def is_absent(self) -> bool:
        """Whether the base hardly has the ability, so that there is nothing to lose."""
        return self.passed is not None and self.base < HARDLY


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """A context, what may follow it, and the place of the one that is right."""

    context: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """A probe of questions with one right choice each."""

    name: str
    questions: tuple[ChoiceQuestion, ...]

    def spans(self, reader: Reader) -> tuple[ScoredSpan, ...]:
        """What is scored: each choice after its context, question by question."""
        return tuple(
            reader.continuations(
                [
                    (each.context, [DELIMITER + choice for choice in each.choices])
                    for each in self.questions
                ]
            )
        )

    def looks(self) -> "tuple[MultipleChoice, MultipleChoice | None]":
        """What is asked first, and what more only where that leaves it unclear."""
        if len(self.questions) < FIRST + ENOUGH_MORE:
            return self, None
        first, more = self.questions[:FIRST], self.questions[FIRST:]
        return replace(self, questions=first), replace(self, questions=more)

    def mixed(self) -> "MultipleChoice":
        """Evenly spread questions before the others, so that a first look at a sorted file asks
        all of its kinds.
        """
        numbers = range(len(self.questions))
        first = {i * len(numbers) // FIRST for i in range(min(FIRST, len(numbers)))}
        order = sorted(numbers, key=lambda number: number not in first)
        return replace(self, questions=tuple(self.questions[number] for number in order))

    def answered(self, logs: Sequence[Logs]) -> ProbeAnswers:
        """An arm's answers, from the log-likelihoods of the spans; of equals the first counts."""
        rest = iter(logs)
        right, norm = [], []
        for question in self.questions:
            sums = np.array([next(rest).sum(dtype=np.float64) for _ in question.choices])
            characters = np.array([len(choice) for choice in question.choices])
            right.append(int(sums.argmax() == question.gold))
            norm.append(int((sums / characters).argmax() == question.gold))
        return ProbeAnswers(tuple(right), tuple(norm))

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> ProbeMeasure:
        """Both arms compared."""
        return compare_answers(self.name, self.answered(base), self.answered(tuned), seed=seed)


def compare_answers(
    name: str, base: ProbeAnswers, tuned: ProbeAnswers, *, seed: int
) -> ProbeMeasure:
    """Shares of questions answered right, tuned minus base on the same questions."""
    differences = differences_of(tuned.right, base.right)
    norm = paired_difference(tuned.right_norm, base.right_norm, seed=seed)
    return ProbeMeasure(
        name,
        "accuracy",
        base=_share(base.right),
        tuned=_share(tuned.right),
        difference=lambda level: paired_difference(tuned.right, base.right, seed=seed, level=level),
        rows_needed=lambda limit, error: rows_needed(differences, error=error, against=limit),
        details={
            "accuracy_norm": {
                "base": _share(base.right_norm),
                "tuned": _share(tuned.right_norm),
                "difference": norm.mean,
                "low": norm.low,
                "high": norm.high,
            }
        },
        answers=(base, tuned),
    )


def with_all_questions(measured: Sequence[ProbeMeasure], *, seed: int) -> list[ProbeMeasure]:
    """The probes, and the questions of all of them as one where several have questions.

    A probe of a few hundred questions cannot resolve a few points; all of them together can.
    """
    answers = [each.answers for each in measured if each.answers is not None]
    if len(answers) < 2:
        return list(measured)
    base, tuned = (_joined([both[arm] for both in answers]) for arm in (0, 1))
    parts = [replace(each, part=each.answers is not None) for each in measured]
    looks = max(each.looks for each in measured if each.answers is not None)
    return [*parts, replace(compare_answers(ALL, base, tuned, seed=seed), looks=looks)]


def _joined(answers: Sequence[ProbeAnswers]) -> ProbeAnswers:
    return ProbeAnswers(
        tuple(one for each in answers for one in each.right),
        tuple(one for each in answers for one in each.right_norm),
    )


def _share(right: Sequence[int]) -> float:
    return sum(right) / len(right)


ENOUGH_SPANS = 20  # fewer are cut into blocks, which count as rows instead
BLOCK_TOKENS = 64
LARGEST = 700.0  # of a perplexity's logarithm: e to more is no float


@dataclass(frozen=True, slots=True)
class PlainText:
    """A probe of texts, each read by itself.

    ``counts`` are words and bytes by the name of the perplexity that counts them, where a task
    has its own of them; else they are counted in the texts.
    """

    name: str
    texts: tuple[str, ...]
    counts: Mapping[str, float] = field(default_factory=dict)

    def spans(self, reader: Reader) -> tuple[ScoredSpan, ...]:
        """What is scored: every token of every text once."""
        return tuple(span for spans in reader.texts(self.texts) for span in spans)

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> ProbeMeasure:
        """Both arms compared, from the log-likelihoods of the same spans.

        The difference is a ratio, tuned over base less 1. Its interval counts spans as rows, or
        blocks of tokens where there are few. Raises ValueError for less than two blocks.
        """
        rises = _rises(_rows_of(base), _rows_of(tuned))
        before, after = self.perplexities(base), self.perplexities(tuned)

        def difference(level: float) -> Interval:
            rise = unbounded_interval(rises, seed=seed, level=level)
            mean = float(np.mean(rises))
            return Interval(_exp(mean) - 1, _exp(rise.low) - 1, _exp(rise.high) - 1, rise.n)

        return ProbeMeasure(
            self.name,
            "perplexity",
            base=before["perplexity"],
            tuned=after["perplexity"],
            difference=difference,
            rows_needed=lambda limit, error: rows_needed(
                rises, error=error, against=math.log1p(limit)
            ),
            details={
                key: {"base": before[key], "tuned": after[key]}
                for key in before
                if key != "perplexity"
            },
        )

    def perplexities(self, logs: Sequence[Logs]) -> Mapping[str, float]:
        """An arm's perplexity by token, word and byte, and its bits per byte."""
        total = -sum(float(each.sum(dtype=np.float64)) for each in logs)
        units = {
            "perplexity": sum(len(each) for each in logs),
            "word_perplexity": sum(len(re.split(r"\s+", text)) for text in self.texts),
            "byte_perplexity": sum(len(text.encode("utf-8")) for text in self.texts),
        }
        found = {key: _exp(total / self.counts.get(key, count)) for key, count in units.items()}
        return {**found, "bits_per_byte": math.log2(found["byte_perplexity"])}


def _rows_of(logs: Sequence[Logs]) -> list[Logs]:
    """Spans, or blocks of their tokens where there are few spans."""
    if len(logs) >= ENOUGH_SPANS:
        return list(logs)
    return [
        each[start : start + BLOCK_TOKENS]
        for each in logs
        for start in range(0, len(each), BLOCK_TOKENS)
    ]


def _rises(base: Sequence[Logs], tuned: Sequence[Logs]) -> list[float]:
    """Values whose mean is the rise of the log-perplexity and whose spread is that of the rows.

    A ratio of sums is not the mean of the rows' ratios; these are its linear parts.
    """
    lengths = np.array([len(each) for each in base], dtype=np.float64)
    rises = np.array(
        [float((b - t).sum(dtype=np.float64)) for b, t in zip(base, tuned, strict=True)]
    )
    if len(rises) < 2:
        raise ValueError(f"one block of {pluralize(int(lengths.sum()), 'token')} has no interval")
    rise = rises.sum() / lengths.sum()
    values: list[float] = (rise + (rises - rise * lengths) / lengths.mean()).tolist()
    return values


def _exp(value: float) -> float:
    """e to the value, or the largest that is a number."""
    return math.exp(min(value, LARGEST))
