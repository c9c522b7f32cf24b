"""Which number does a text give as its final answer, and when are two of them the same?"""

import re
from dataclasses import dataclass
from fractions import Fraction

MARKERS = (
    re.compile(r"####[ \t]*([^\n]*)"),
    re.compile(r"\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}"),
    re.compile(r"(?i:answer(?:\s+is|\s*[:=])|답은|정답은?\s*[:=]?)\s*([^\n]*)"),
)
LATEX_FRACTION = re.compile(r"\\[dt]?frac\{\s*(-?\d+)\s*\}\{\s*(\d+)\s*\}")
PLAIN = r"\d+(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3}(?!\w|\.\d))?|\.\d+"
NUMBER = re.compile(
    rf"""(?P<sign>(?<![\w.)])[-+\u2212](?!\s)|(?<==\s)[-+\u2212]\s)?(?:[$€£₩¥]\s?)?(?<![\d.])
    (?:(?P<whole>\d+)\s+(?=\d+\s?/\s?\d))?
    (?P<number>{PLAIN})
    (?:\s?/\s?(?P<below>\d+(?![\d/.,]*\d)))?
    (?P<percent>\s?(?:%|％|percent\b))?
    (?:\s(?P<scale>thousand|million|billion|trillion)\b)?""",
    re.VERBOSE | re.IGNORECASE,
)
# Numbers with an operator before the first `=`, up to the last: `2 + 3 =`; none in `5 = 2 + 3`.
CALCULATION = re.compile(r"(?=[^=]*\d[ %)]*[-+*×÷^\u2212])[ \t\d.,()%$€£₩¥+*/×÷^\u2212=-]*=")
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


@dataclass(frozen=True, slots=True)
class FinalNumber:
    """A number, exactly, and whether it was given in percent (then ``value`` is the percentage)."""

    value: Fraction
    is_percent: bool = False


def final_number(text: str, *, marker: str | None = None) -> FinalNumber | None:
    """The first number after the last mark of a final answer; without such a mark the last one.

    With ``marker`` only that text is such a mark, and a text without it has no final number.
    Where a calculation follows the mark, its result counts: what is behind its last `=`. A sign
    stands at its number or behind a `=`, as `- 12` may be an item of a list. Thousands separators,
    currency signs and units are set aside.
    """
    if marker is not None:
        _, found, rest = text.rpartition(marker)
        return _after_mark(rest.partition("\n")[0].strip() or rest.strip()) if found else None
    for pattern in MARKERS:
        marked = [found[1] for found in pattern.finditer(text)]
        for tail in reversed(marked):
            if (number := _after_mark(tail)) is not None:
                return number
    numbers = [number for found in NUMBER.finditer(_plain(text)) if (number := _read(found))]
    return numbers[-1] if numbers else None


def has_final_answer(text: str, *, marker: str | None = None) -> bool:
    """Whether a mark of a final answer stands in the text with something behind it."""
    if marker is not None:
        return bool(text.rpartition(marker)[2].strip()) and marker in text
    return any(found[1].strip() for pattern in MARKERS for found in pattern.finditer(text))


def same_number(
    given: FinalNumber, wanted: FinalNumber, *, tolerance: float, relative_tolerance: float
) -> bool:
    """Equality within a tolerance, absolute or relative to ``wanted``, whichever allows more.

    Where only one of them has a percent sign, the other may be the percentage or the share.
    """
    share = Fraction(str(relative_tolerance))  # as it is written, 0.03 being a little less
    allowed = max(Fraction(str(tolerance)), share * abs(wanted.value))
    values = [given.value]
    if given.is_percent != wanted.is_percent:
        values.append(given.value / 100 if given.is_percent else given.value * 100)
    return any(abs(value - wanted.value) <= allowed for value in values)


def _plain(text: str) -> str:
    """Fractions of LaTeX as `a/b`, its spaces and escapes gone."""
    text = LATEX_FRACTION.sub(r"\1/\2", text)
    return re.sub(r"\\([$%,])", r"\1", text).replace("\\!", "").replace("{,}", ",")


def _after_mark(text: str) -> FinalNumber | None:
    text = _plain(text)
    calculation = CALCULATION.match(text)
    result = _first(text[calculation.end() :]) if calculation else None
    return _first(text) if result is None else result


def _first(text: str) -> FinalNumber | None:
    found = NUMBER.search(text)
    return _read(found) if found else None


def _read(found: re.Match[str]) -> FinalNumber | None:
    value = Fraction(found["number"].replace(",", ""))
    if found["below"]:
        if int(found["below"]) == 0:
            return None
        value /= int(found["below"])
    value += int(found["whole"] or 0)
    value *= SCALES.get((found["scale"] or "").lower(), 1)
    negative = (found["sign"] or "").strip() in ("-", "\u2212")
    return FinalNumber(-value if negative else value, is_percent=bool(found["percent"]))
