"""Named findings about a run besides its verdict, and the phrases that describe them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.language import DEFAULT
from tunesmith.core.numbers import MINUS, points
from tunesmith.core.phrases import Phrases, languages

PHRASES = "tunesmith.evaluation.words"
# Keys of an evaluate document that changed: the earlier one is written too, for one version.
EARLIER = {"scale": "strength", "overfitting": "overtuning"}


def words_in(language: str = DEFAULT) -> Phrases:
    """The phrases of one language; raises ValueError where there are none."""
    return Phrases(PHRASES, language)


def in_languages(text: Callable[[Phrases], str]) -> dict[str, object]:
    """A document's `text`, and the text in every language as `texts`."""
    texts = {language: text(words_in(language)) for language in languages(PHRASES)}
    return {"text": texts[DEFAULT], "texts": texts}


def part_of(document: Mapping[str, Any], name: str) -> Any:
    """A measure's part of an evaluate document, of an earlier version's too; None without one."""
    return document.get(name, document.get(EARLIER.get(name, name)))


def text_in(part: Any, language: str) -> str:
    """The text of a part of the evaluation, in a language where it has that."""
    if not part:
        return ""
    return str((part.get("texts") or {}).get(language) or part.get("text") or "")


class Described:
    """What a measure found, with a text: all measures report their findings in the same way."""

    __slots__ = ()

    def describe(self, words: Phrases) -> str:
        """The findings in the words of one language."""
        raise NotImplementedError

    def values(self) -> Mapping[str, object]:
        """Its part of the document, without the text."""
        raise NotImplementedError

    def text(self, *, language: str = DEFAULT) -> str:
        """The findings in words."""
        return self.describe(words_in(language))

    def to_json(self) -> dict[str, object]:
        """Its part of the document."""
        return {**self.values(), **in_languages(self.describe)}


SMALLEST = 0.001
Value = float | int | str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth knowing, by a code that does not change, and its numbers.

    ``harm``: the run went wrong in this way; else it is a hint. How a value is written follows
    from the end of its name: ``share`` in percent, ``points`` of a percentage with a sign, ``nats``
    and ``times`` as numbers; whole numbers and texts as they are.
    """

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)
    harm: bool = False

    def to_json(self) -> dict[str, object]:
        """Code, whether it is harm, and the numbers."""
        return {"code": self.code, "harm": self.harm, **self.values}


def finding_text(part: str, finding: Finding, words: Phrases) -> str:
    """The sentences of a finding, whose phrases are under ``part``."""
    return words.phrase(f"{part}.{finding.code}", **written(finding.values, words))


def findings_text(part: str, findings: Sequence[Finding], words: Phrases) -> str:
    """All of them in a paragraph; without any, the phrase `none` of the part."""
    if not findings:
        return words.phrase(f"{part}.none")
    return " ".join(finding_text(part, each, words) for each in findings)


def written(values: Mapping[str, Value], words: Phrases) -> dict[str, str]:
    """Each value as text."""
    return {name: _written(name, value, words) for name, value in values.items()}


def _written(name: str, value: Value, words: Phrases) -> str:
    if isinstance(value, str):
        return value
    if name.endswith("share"):
        return share_text(value, words)
    if name.endswith("points"):
        return points_text(value, words)
    if isinstance(value, int):
        return f"{value:,}"
    return number_text(value)


def share_text(share: float, words: Phrases) -> str:
    """A share in whole percent, with a digit where rounding would give 0 or 100."""
    percent = 100 * share
    if percent not in (0.0, 100.0) and round(percent) in (0, 100):
        return words.phrase("percent", value=f"{min(max(percent, 0.1), 99.9):.1f}")
    return words.phrase("percent", value=f"{percent:.0f}")


def points_text(share: float, words: Phrases, digits: int | None = None) -> str:
    """A difference of shares in points, with its sign; whole ones where no digits are asked for."""
    value = signed_text(share) if digits is None else points(share, digits)
    is_one = abs(round(100 * share, digits or 0)) == 1
    return words.phrase("points", 1 if is_one else 2, value=value)


def signed_text(share: float) -> str:
    """Whole points with their sign; 0 for no difference."""
    return points(share, 0) if round(100 * share) else "0"


def digits_needed(shares: Sequence[float]) -> int:
    """The fewest digits after the point with which no difference is rounded to none."""
    smallest = min((abs(100 * share) for share in shares if share), default=1.0)
    return next((digits for digits in range(3) if smallest >= 10.0**-digits), 3)


def arm_text(arm: str, words: Phrases) -> str:
    """An arm by what the user knows it as; one without a phrase by its name."""
    return words.phrase_or(f"arm.{arm}", arm)


def number_text(value: float) -> str:
    """A number with three significant digits, and at most three after the point."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if 0 < size < SMALLEST:
        return f"<{SMALLEST}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}".replace("-", MINUS)
