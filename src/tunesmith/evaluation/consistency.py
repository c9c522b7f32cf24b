"""How consistent is each arm when it is asked again, and is the tuned one more so?"""

import itertools
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.checks.check import CannotScore, Case, Check, score_cases
from tunesmith.evaluation.checks.label import Label
from tunesmith.evaluation.comparison import TUNED, summarize_check
from tunesmith.evaluation.findings import (
    Described,
    arm_text,
    points_text,
    share_text,
    signed_text,
)
from tunesmith.evaluation.intervals import (
    Interval,
    is_binary,
)

_LIST = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_NUMBER = re.compile(r"[-+]?[$€£₩]?\d[\d,]*(?:\.\d+)?\s?%?")
_ENDS = {"?": "question", "？": "question", "!": "call", "！": "call", ".": "stop", "。": "stop"}
_POLITE = re.compile("(?:요|니다|니까|세요|죠)[.?!~…\\s]*$")

Form = tuple[str, ...]


def form_of(text: str) -> Form:
    """The form: JSON by its keys, a number, a list, code, or text by its end and its lines.

    Korean texts also by whether their ending is polite. Two answers of one form may
    mean different things.
    """
    bare = text.strip()
    if not bare:
        return ("empty",)
    with suppress(ValueError, RecursionError):
        return _of_json(json.loads(bare))
    if "```" in bare:
        return ("code",)
    lines = [line for line in bare.splitlines() if line.strip()]
    if sum(bool(_LIST.match(line)) for line in lines) * 2 > len(lines) > 1:
        return ("list",)
    if _NUMBER.fullmatch(bare):
        return ("number",)
    polite = ("polite",) if _POLITE.search(bare) else ()
    return ("text", _ENDS.get(bare[-1], "open"), "lines" if len(lines) > 1 else "line", *polite)


def _of_json(value: object) -> Form:
    if isinstance(value, dict):
        return ("object", *sorted(value))
    if isinstance(value, list):
        return ("array",)
    return ("number",) if isinstance(value, int | float) else ("json",)


Meaning = Callable[[str, str], float]
"""The cosine of two texts' vectors; raises CannotScore for a text that the model cannot read."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One question's answers: the lowest score of the first check among them (None: no check, or
    an answer without a score); shares of pairs that agree in form and in label; the mean cosine
    of pairs (None: not measured); and how much shorter the shortest is than the longest.

    All lie within 0 and 1; of `length_spread` 0 is best, of the others 1.
    """

    passes: float | None
    form: float
    label: float
    meaning: float | None
    length_spread: float


MEASURES = ("passes", "form", "label", "meaning", "length_spread")


def agreement(
    answers: Sequence[str],
    scores: Sequence[float | None] | None,
    *,
    label: Label,
    meaning: Meaning | None = None,
) -> Agreement:
    """Of two answers or more, with their scores under the first check.

    A question with an answer that could not be scored has no `passes`: that one might have failed.
    Raises ValueError for a single answer, which agrees with nothing.
    """
    if len(answers) < 2:
        raise ValueError("two answers or more can agree, not one")
    known = [score for score in scores or () if score is not None]
    complete = scores is not None and len(known) == len(answers)
    return Agreement(
        passes=min(known) if complete else None,
        form=equal_pairs([form_of(text) for text in answers]),
        label=equal_pairs([label(text) for text in answers]),
        meaning=None if meaning is None else _meaning(answers, meaning),
        length_spread=length_spread(answers),
    )


def equal_pairs(values: Sequence[Hashable]) -> float:
    """The share of all pairs that are equal (Simpson's index of the values, without repeats)."""
    pairs = len(values) * (len(values) - 1)
    return sum(count * (count - 1) for count in Counter(values).values()) / pairs


def length_spread(answers: Sequence[str]) -> float:
    """(longest - shortest) / longest, in words, or in characters where none has two words."""
    words = [len(text.split()) for text in answers]
    lengths = words if max(words) > 1 else [len(text.strip()) for text in answers]
    return (max(lengths) - min(lengths)) / max(lengths) if max(lengths) else 0.0


def _meaning(answers: Sequence[str], meaning: Meaning) -> float | None:
    """The mean over pairs, equal texts being 1; None where a text cannot be read."""
    try:
        return statistics.fmean(
            1.0 if a == b else min(1.0, max(0.0, meaning(a, b)))
            for a, b in itertools.combinations(answers, 2)
        )
    except CannotScore:
        return None


Arms = Mapping[str, Sequence[Agreement]]  # arm -> the same questions in the same order
Table = Mapping[str, Mapping[str, Interval]]  # arm -> measure


@dataclass(frozen=True, slots=True)
class Repeats:
    """One way of asking again: each arm's measures, and tuned minus each other arm's.

    A measure that no question has in an arm is left out; a difference is over questions that
    have it in both.
    """

    arms: Table
    differences: Table
    questions: int

    def to_json(self) -> dict[str, object]:
        """Arm -> measure -> score, low, high, n; differences likewise."""
        return {
            "questions": self.questions,
            "arms": _table_json(self.arms, "score"),
            "differences": _table_json(self.differences, "mean"),
        }


def _table_json(table: Table, mean: str) -> dict[str, dict[str, dict[str, float]]]:
    return {
        arm: {name: interval.to_json(mean) for name, interval in each.items()}
        for arm, each in table.items()
    }


def measure_repeats(arms: Arms, *, seed: int) -> Repeats:
    """All intervals, by the bootstrap over questions (0/1 values: Wilson's and Tango's).

    Answers to one question correlate, so questions are drawn, never answers. Where
    arms were asked different numbers of questions, the first ones that all were asked count.
    Raises ValueError without a question.
    """
    count = min((len(rows) for rows in arms.values()), default=0)
    if not count:
        raise ValueError("no question was asked of every arm")
    measures = [
        summarize_check(
            name,
            {arm: [getattr(row, name) for row in rows[:count]] for arm, rows in arms.items()},
            seed=seed,
        )
        for name in MEASURES
    ]
    table = {
        arm: {each.name: each.arms[arm] for each in measures if arm in each.arms} for arm in arms
    }
    differences = {
        arm: {each.name: each.differences[arm] for each in measures if arm in each.differences}
        for arm in arms
        if arm != TUNED and TUNED in arms
    }
    return Repeats(table, differences, count)


@dataclass(frozen=True, slots=True)
class Consistency(Described):
    """The same prompts sampled again, and asked in other words; None: not done.

    ``graded``: scores of the first check are not all 0 or 1, so that the lowest one is reported.
    ``notes`` list what was left out.
    """

    samples: Repeats | None
    paraphrases: Repeats | None
    times: int
    wordings: int
    temperature: float
    graded: bool = False
    notes: tuple[str, ...] = ()

    def values(self) -> Mapping[str, object]:
        """The part `consistency` of the evaluate document."""
        return {
            "samples": self.samples
            and {"times": self.times, "temperature": self.temperature, **self.samples.to_json()},
            "paraphrases": self.paraphrases
            and {"wordings": self.wordings, **self.paraphrases.to_json()},
            "notes": list(self.notes),
        }

    def describe(self, words: Phrases) -> str:
        """What the tuned arm does, in words; the others in brackets."""
        return " ".join(self._sentences(words)) or words.phrase("consistency.none")

    def _sentences(self, words: Phrases) -> Iterator[str]:
        """How it was asked, then each measure that the tuned arm has."""
        ways = {
            "samples": (self.samples, self.times),
            "paraphrases": (self.paraphrases, self.wordings),
        }
        temperature = f"{self.temperature:g}"
        for way, (repeats, times) in ways.items():
            if repeats is None:
                continue
            key, count = f"consistency.{way}", repeats.questions
            yield words.phrase(key, count, times=times, temperature=temperature)
            for name, tuned in repeats.arms.get(TUNED, {}).items():
                key = f"{name}-graded" if name == "passes" and self.graded else name
                score, others = share_text(tuned.mean, words), _others(repeats, name, words)
                yield words.phrase(f"consistency.{key}", score=score, others=others)


def _others(repeats: Repeats, name: str, words: Phrases) -> str:
    """The other arms in brackets, with the difference and its interval; nothing without them."""
    others = [
        words.phrase(
            "consistency.other",
            arm=arm_text(arm, words),
            score=share_text(measures[name].mean, words),
            difference=_difference(repeats.differences.get(arm, {}).get(name), words),
        )
        for arm, measures in repeats.arms.items()
        if arm != TUNED and name in measures
    ]
    return words.phrase("consistency.others", list=", ".join(others)) if others else ""


def _difference(change: Interval | None, words: Phrases) -> str:
    if change is None:
        return ""
    limits = {"low": signed_text(change.low), "high": signed_text(change.high)}
    return words.phrase("consistency.difference", points=points_text(change.mean, words), **limits)


Groups = Sequence[Sequence[Case]]  # question -> its answers


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """How answers are compared: the first check, their labels, and their meaning if measured."""

    check: Check | None
    label: Label
    meaning: Meaning | None = None


def assess_consistency(
    samples: Mapping[str, Groups],
    wordings: Mapping[str, Groups],
    by: AnswerComparison,
    *,
    temperature: float,
    seed: int,
    notes: Sequence[str] = (),
) -> Consistency:
    """Arm -> the same questions -> their answers, drawn again and asked in other words.

    Either may be empty: it is then reported as not done.
    """
    tables = [
        {arm: agreements(groups, by) for arm, groups in each.items()}
        for each in (samples, wordings)
    ]
    sampled, worded = (
        measure_repeats(each, seed=seed) if each and all(each.values()) else None for each in tables
    )
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


def agreements(groups: Groups, by: AnswerComparison) -> list[Agreement]:
    """Each question's answers; all are scored at once, as some checks take many together."""
    cases = [case for group in groups for case in group]
    scores = iter(score_cases(by.check, cases).scores if by.check else [None] * len(cases))
    return [
        agreement(
            [case.answer for case in group],
            [next(scores) for _ in group],
            label=by.label,
            meaning=by.meaning,
        )
        for group in groups
    ]


def _most(arms: Mapping[str, Groups]) -> int:
    return max((len(group) for groups in arms.values() for group in groups), default=0)
