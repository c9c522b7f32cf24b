"""number, steps: is the final number the reference's, and are there steps before it?"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tunesmith.config.checks_reference import NumberSettings, StepsSettings
from tunesmith.evaluation.checks.check import Case, Check, Figures, trimmed

MARKERS = (
    re.compile(r"####[ \t]*([^\n]*)"),
    re.compile(r"\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}"),
    re.compile(r"(?i:answer(?:\s+is|\s*[:=])|답은|정답은?\s*[:=]?)\s*([^\n]*)"),
)
LATEX_FRACTION = re.compile(r"\\[dt]?frac\{\s*(-?\d+)\s*\}\{\s*(\d+)\s*\}")
PLAIN = r"\d+(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3}(?!\w|\.\d))?|\.\d+"
NUMBER = re.compile(
    rf"""(?P<sign>(?<![\w.)])[-+\u2212](?!\s)|(?<==\s)[-+\u2212]\s)?(?P<currency>[$€£₩¥￥₹]\s?)?(?<![\d.])(?<![A-Za-z]\^)
    (?:(?P<whole>\d+)\s+(?=\d+\s?/\s?\d))?
    (?P<number>{PLAIN})
    (?:\s?/\s?(?P<below>\d+(?![\d/.,]*\d)))?
    (?P<percent>\s?(?:%|％|percent\b))?
    (?:\s(?P<scale>thousand|million|billion|trillion)\b)?
    (?(currency)(?:\s?(?P<short>k|m|mn|b|bn)\b)?)""",
    re.VERBOSE | re.IGNORECASE,
)
# Commas and points between digits that are not those of English: `1.234,56`, `1.234.567`,
# `1,00,000`, `12,5`; other marks of thousands, a blank only before a currency.
FULL_WIDTH = str.maketrans("，．", ",.")
DOTTED = re.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?![\d.,]*\d)")
INDIAN = re.compile(r"(?<![\d.,])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,]*\d)")
POINTS = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,}(?![\d.,]*\d)")
UNIT = r"\s?(?:€|%|％|°|EUR|USD|kr|zł|Kč|₽|руб|Ft|[Ee]uros?|k?g|mg|k?m|cm|mm|m?l|h|s|min)(?!\w)"
DECIMAL = re.compile(rf"(?<![\d.,])(?:\d+,\d{{1,2}}|0,\d{{3,}})(?={UNIT})")
ALONE = re.compile(r"[^\w,.(\[{]*(?:\d+,(?:\d{1,2}|\d{4,})|0,\d{3})\W*")
THIN = re.compile(r"(?<![\d.,])\d{1,3}(?:[\u00a0\u202f'’]\d{3})+(?!\d)")
BLANK = re.compile(
    r"(?<![\w.,])\d{1,3}(?: \d{3}){1,5}(?:,\d{1,2})?(?=\s?(?:€|EUR|kr|zł|Kč|₽|руб|Ft)(?!\w))"
    r"|\A\W*\d{1,3} \d{3}(?=\W*\Z)"
)
POWER = re.compile(r"(\d(?:\.\d+)?)\s?[x×·*]\s?10\^\{?([-+]?\d{1,3})\}?")
# `3만 원`, `1억 2천만`, `5万円`: numbers with units of ten thousands, before a counter or the end.
EASTERN = re.compile(
    r"(?<![\d,.])(?:\d[\d,]*(?:\.\d+)?\s?[십백천만억조十百千万億兆]+\s?)+(?:\d+)?"
    r"(?=\s?(?:원|달러|유로|명|개|회|번|년|점|톤|대|권|장|마리|인|円|人|元|ドル|km|m|kg)"
    r"|\s*(?:[^\w\s]|$))"
)
EASTERN_PART = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s?([십백천만억조十百千万億兆]*)")
TENS = {"십": 10, "백": 100, "천": 1000, "十": 10, "百": 100, "千": 1000}
MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12, "万": 10**4, "億": 10**8, "兆": 10**12}
# Numbers with an operator before the first `=`, up to the last: `2 + 3 =`; none in `5 = 2 + 3`.
CALCULATION = re.compile(r"(?=[^=]*\d[ %)]*[-+*×÷^\u2212])[ \t\d.,()%$€£₩¥+*/×÷^\u2212=-]*=")
MAX_LETTERS = 1000  # of a number; a longer one is a model that repeats itself
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALES |= {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}


@dataclass(frozen=True, slots=True)
class FinalNumber:
    """A number, exactly, and whether it was given in percent (then ``value`` is the percentage)."""

    value: Fraction
    is_percent: bool = False


def final_number(text: str, *, marker: str | None = None) -> FinalNumber | None:
    """The first number after the last mark of a final answer; without such a mark the last one.

    With ``marker`` only that text is such a mark, and a text without it has no final number.
    Where a calculation follows the mark, its result counts: what follows its last `=`. A sign
    is next to its number or follows a `=`, as `- 12` may be an item of a list. Thousands
    separators, currency signs and units are ignored.
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


def is_number(text: str) -> bool:
    """Whether a text is one number, or ends in one after a `=`; with its sign, currency or mark."""
    result = text.rpartition("=")[2].strip(" \n\t$€£₩¥₹.()*≈~°")
    return NUMBER.fullmatch(_plain(result)) is not None


def has_final_answer(text: str, *, marker: str | None = None) -> bool:
    """Whether the text has a mark of a final answer that something follows."""
    if marker is not None:
        return bool(text.rpartition(marker)[2].strip()) and marker in text
    return any(found[1].strip() for pattern in MARKERS for found in pattern.finditer(text))


def same_number(
    given: FinalNumber, wanted: FinalNumber, settings: NumberSettings | StepsSettings
) -> bool:
    """Equality within a tolerance, absolute or relative to ``wanted``, whichever allows more.

    Where only one of them has a percent sign, the other may be the percentage or the share.
    """
    # As they are written: the float 0.03 is a little less.
    share = Fraction(str(settings.relative_tolerance))
    allowed = max(Fraction(str(settings.tolerance)), share * abs(wanted.value))
    values = [given.value]
    if given.is_percent != wanted.is_percent:
        values.append(given.value / 100 if given.is_percent else given.value * 100)
    return any(abs(value - wanted.value) <= allowed for value in values)


def _plain(text: str) -> str:
    """Fractions of LaTeX as `a/b`, its spaces and escapes gone; numbers with commas as others."""
    text = LATEX_FRACTION.sub(r"\1/\2", text.translate(FULL_WIDTH))
    text = re.sub(r"\\([$%,])", r"\1", text).replace("\\!", "").replace("{,}", ",")
    text = BLANK.sub(lambda found: found[0].replace(" ", ""), THIN.sub(_digits, text))
    text = DOTTED.sub(lambda found: f"{found[1].replace('.', '')}.{found[2]}", text)
    text = INDIAN.sub(_digits, POINTS.sub(_digits, text))
    text = DECIMAL.sub(lambda found: found[0].replace(",", "."), text)
    text = text.replace(",", ".") if ALONE.fullmatch(text) else text
    return POWER.sub(r"\1e\2", EASTERN.sub(_western, text))


def _digits(found: re.Match[str]) -> str:
    """A number without what parts its thousands."""
    return "".join(filter(str.isdigit, found[0]))


def _western(found: re.Match[str]) -> str:
    """`1억 2천만` as `120000000`; what follows the number stays apart."""
    total = section = Fraction(0)
    for digits, units in EASTERN_PART.findall(found[0]):
        number = Fraction(digits.replace(",", ""))
        for unit in units:
            if unit in TENS:
                section, number = section + number * TENS[unit], Fraction(0)
            else:
                total, section = total + (section + number) * MYRIADS[unit], Fraction(0)
                number = Fraction(0)
        section += number
    value = total + section
    return f"{value.numerator}" if value.denominator == 1 else f"{float(value)}"


def _after_mark(text: str) -> FinalNumber | None:
    text = _plain(text)
    calculation = CALCULATION.match(text)
    result = _first(text[calculation.end() :]) if calculation else None
    return _first(text) if result is None else result


def _first(text: str) -> FinalNumber | None:
    found = NUMBER.search(text)
    return _read(found) if found else None


def _read(found: re.Match[str]) -> FinalNumber | None:
    if len(found[0]) > MAX_LETTERS:
        return None
    value = Fraction(found["number"].replace(",", ""))
    if found["below"]:
        if int(found["below"]) == 0:
            return None
        value /= int(found["below"])
    value += int(found["whole"] or 0)
    value *= SCALES.get((found["scale"] or found["short"] or "").lower(), 1)
    negative = (found["sign"] or "").strip() in ("-", "\u2212")
    return FinalNumber(-value if negative else value, is_percent=bool(found["percent"]))


def number_check(settings: NumberSettings) -> Check:
    """1.0 where the final numbers are the same within the tolerance."""

    def score(case: Case) -> float:
        wanted = final_number(case.wanted, marker=settings.marker)
        given = final_number(case.answer, marker=settings.marker)
        if wanted is None or given is None:
            return 0.0
        return float(same_number(given, wanted, settings))

    def fault(case: Case) -> str | None:
        if final_number(case.wanted, marker=settings.marker) is None:
            after = f" after `{settings.marker}`" if settings.marker else ""
            return f"the reference holds no number{after}"
        return None

    return Check(rule=score, needs="reference", fault=fault)


LABEL = re.compile(
    r"(?mi)^[ \t>*#_-]*(?:step[ \t]+|단계[ \t]*)?(\d{1,3})[ \t]*(?:[.):]|단계)(?!\d)"
)


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is laid out."""

    steps: int
    in_order: bool
    has_final: bool


def steps_check(settings: StepsSettings) -> Check:
    """1.0 where the form is right: count, order, final answer. Correctness is a figure besides.

    The final answer must come last: its line is no step, and no step follows it.
    """
    marker = settings.marker

    def form(case: Case) -> Form:
        numbered = settings.steps == "numbered" or (
            settings.steps == "auto" and LABEL.search(case.reference or case.answer) is not None
        )
        return _form(case.answer, numbered=numbered, marker=marker)

    def has_form(case: Case) -> bool:
        found = form(case)
        enough = settings.at_least <= found.steps <= (settings.at_most or found.steps)
        return enough and found.in_order and found.has_final

    def figures(cases: Sequence[Case]) -> Figures:
        forms = [form(case) for case in cases]
        correct = [_is_correct(case, settings) for case in cases]
        both = Counter(zip(map(has_form, cases), correct, strict=True))
        share = 1 / len(cases)
        return {
            "mean_steps": share * sum(each.steps for each in forms),
            "in_order": share * sum(each.in_order for each in forms),
            "final_answer": share * sum(each.has_final for each in forms),
            "form": share * (both[True, True] + both[True, False]),
            "correct": share * sum(correct),
            "correct_and_form": share * both[True, True],
            "correct_without_form": share * both[False, True],
        }

    return Check(rule=lambda case: float(has_form(case)), aggregate=figures)


def _form(text: str, *, numbered: bool, marker: str | None) -> Form:
    lines = [line for line in trimmed(text).splitlines() if line.strip()]
    finals = [i for i, line in enumerate(lines) if has_final_answer(line, marker=marker)]
    body = lines[: finals[-1]] if finals else lines
    after = lines[finals[-1] + 1 :] if finals else []
    if not numbered:
        return Form(len(body), in_order=True, has_final=bool(finals) and not after)
    # A labelled line may itself give the final answer; it is a step like the others.
    labels = [int(found[1]) for line in lines if (found := LABEL.match(line))]
    follows = any(LABEL.match(line) for line in after)
    in_order = labels == list(range(1, len(labels) + 1))
    return Form(len(labels), in_order=in_order, has_final=bool(finals) and not follows)


def _is_correct(case: Case, settings: StepsSettings) -> bool:
    """Whether the final numbers are the same; where the reference has none, the final texts."""
    if case.reference is None:
        return False
    wanted = final_number(case.reference, marker=settings.marker)
    given = final_number(case.answer, marker=settings.marker)
    if wanted is None:
        return _last_line(case.answer) == _last_line(case.reference)
    return given is not None and same_number(given, wanted, settings)


def _last_line(text: str) -> str:
    return trimmed(trimmed(text).rpartition("\n")[2])
