"""How far do several answers to one question agree?"""

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from tunesmith.evaluate.consistency.form import form_of

Label = Callable[[str], Hashable]
Meaning = Callable[[str, str], float]
"""The cosine of two texts' vectors; raises ValueError for a text that the model cannot read."""


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
    except ValueError:
        return None
