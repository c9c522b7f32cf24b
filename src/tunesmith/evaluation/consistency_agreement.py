"""How far do several answers to one question agree: in form, label, meaning and length?"""

import itertools
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tunesmith.config.checks import CheckSettings, LabelSettings, NumberSettings
from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluation.checks.check import CannotScore
from tunesmith.evaluation.checks.json_text import NotJson, parse_json
from tunesmith.evaluation.checks.label import read_label
from tunesmith.evaluation.checks.numbers import final_number

_LIST = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_NUMBER = re.compile(r"[-+]?[$€£₩]?\d[\d,]*(?:\.\d+)?\s?%?")
_ENDS = {"?": "question", "？": "question", "!": "call", "！": "call", ".": "stop", "。": "stop"}
_POLITE = re.compile("(?:요|니다|니까|세요|죠)[.?!~…\\s]*$")

Form = tuple[str, ...]


def form_of(text: str) -> Form:
    """The form: JSON by its keys, a number, a list, code, or text by its end and its lines.

    Korean texts also by whether their ending is polite. Two answers of one form may say
    different things.
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
    if isinstance(value, bool | int | float) or value is None:
        return ("number",) if isinstance(value, int | float) else ("json",)
    return ("array",) if isinstance(value, list) else ("json",)


Label = Callable[[str], Hashable]
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


def label_of(checks: Sequence[CheckSettings]) -> Label:
    """By the first check that reads a label or a number out of an answer, else the whole text
    without case and punctuation.

    Answers in which that check finds nothing agree only where their texts do.
    """
    for check in checks:
        if isinstance(check, LabelSettings):
            return _either(partial(read_label, settings=check))
        if isinstance(check, NumberSettings):
            return _either(partial(_number, check=check))
    return _either(_json)


def _either(read: Callable[[str], Hashable | None]) -> Label:
    def label(text: str) -> Hashable:
        found = read(text)
        return ("text", bare(fold(text))) if found is None else ("label", found)

    return label


def _number(text: str, check: NumberSettings) -> Hashable | None:
    found = final_number(text, marker=check.marker)
    return None if found is None else (found.value, found.is_percent)


def _json(text: str) -> Hashable | None:
    """An object or a list whatever the order of its keys; other texts are no JSON here."""
    try:
        value = parse_json(text)
    except NotJson:
        return None
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else None
