"""slots: which slots and values of the reference, or of the question, does the answer have?"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tunesmith.config.checks_reference import SlotsSettings
from tunesmith.evaluation.checks.check import Case, Check, Figures, folded
from tunesmith.evaluation.checks.json_text import NotJson, parse_json, value_of_key

Pair = tuple[str, str]  # slot, value
BRACKETS = re.compile(r"([^\W\d][\w .-]*)\[([^\[\]]*)\]")


class NoSlots(ValueError):
    """The text holds slots in neither notation."""


def read_pairs(text: str, *, field: str | None, ignore_case: bool) -> Counter[Pair]:
    """Every slot with its value, as often as it occurs.

    JSON is flattened: `{"a": {"b": 1}}` has the slot `a.b`, a list gives a pair for each item,
    null none; 2.0 is 2. Raises NoSlots for a text that is neither.
    """
    found = BRACKETS.findall(text) if field is None else []
    try:
        value = parse_json(text) if field is None else value_of_key(text, field)
    except NotJson as error:
        if not found:
            raise NoSlots(f"it has no slots as JSON or as name[value]: {error}") from None
        return Counter((slot.strip(), _value(value, ignore_case)) for slot, value in found)
    if not isinstance(value, dict | list):
        raise NoSlots("it is JSON without slots")
    return Counter((slot, _value(one, ignore_case)) for slot, one in _flat(value, ""))


def _flat(value: JsonValue, slot: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{slot}.{key}" if slot else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(inner, slot)
    elif isinstance(value, bool):
        yield slot, "yes" if value else "no"
    elif value is not None:
        is_whole = isinstance(value, float) and value.is_integer()
        yield slot, str(int(value) if is_whole else value)  # 2.0 is 2, and no digit is lost


def _value(text: str, ignore_case: bool) -> str:
    return " ".join(folded(text, ignore_case=ignore_case).split())


def mentioned_pairs(
    text: str,
    wanted: Sequence[Pair],
    phrases: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    ignore_case: bool,
) -> Counter[Pair]:
    """Which of the wanted pairs, and of those that have phrases, a text in words mentions.

    The longest phrase is looked for first and what it covers is used up, so that `not family
    friendly` is no `family friendly`. A phrase that can mean several pairs means the wanted ones.
    """
    known = dict.fromkeys(
        [*wanted, *((slot, _value(v, ignore_case)) for slot, vs in phrases.items() for v in vs)]
    )
    by_phrase: dict[str, list[Pair]] = {}
    for slot, value in known:
        for phrase in phrases_of(slot, value, phrases, ignore_case=ignore_case):
            by_phrase.setdefault(phrase, []).append((slot, value))
    rest, found = _value(text, ignore_case), set[Pair]()
    for phrase in sorted(by_phrase, key=len, reverse=True):
        rest, count = _pattern(phrase).subn("\0", rest)
        if count:
            pairs = by_phrase[phrase]
            found.update([pair for pair in pairs if pair in wanted] or pairs)
    return Counter(found)


def phrases_of(
    slot: str, value: str, phrases: Mapping[str, Mapping[str, Sequence[str]]], *, ignore_case: bool
) -> list[str]:
    """What mentions the pair: the phrases that are given for it, else its value itself."""
    for given, texts in phrases.get(slot, {}).items():
        if _value(given, ignore_case) == value:
            return [_value(text, ignore_case) for text in texts]
    return [value]


def _pattern(phrase: str) -> re.Pattern[str]:
    """The phrase as words of its own; letters of other scripts may follow, as 에서 in 서울에서."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(phrase)}(?![A-Za-z0-9])")


UNSAID = {"yes", "no", "true", "false"}
"""Values that a text never repeats: what mentions them must be given as phrases."""


def slots_check(settings: SlotsSettings) -> Check:
    """F1 of the pairs of slot and value in each row; over all rows precision, recall and F1.

    Against slots of the question, an answer in words has a pair that it mentions; pairs too many
    are only noticed among those that have phrases.
    """

    def score(case: Case) -> float:
        wanted, given = _pairs(case, settings)
        return _f1(wanted, given) if wanted is not None else 0.0

    def fault(case: Case) -> str | None:
        try:
            wanted = _wanted(case, settings)
        except NoSlots as error:
            return f"the {settings.source} cannot be compared by slots: {error}"
        unsaid = [f"{slot}[{value}]" for slot, value in wanted if _is_unsaid(slot, value, settings)]
        if unsaid:
            return (
                f"no text repeats the value of {', '.join(unsaid)}: give what mentions it "
                "under `phrases`, or name the slot under `leave_out`"
            )
        return None

    def figures(cases: Sequence[Case]) -> Figures:
        counted = [(w, g) for w, g in (_pairs(case, settings) for case in cases) if w is not None]
        return _figures(counted)

    return Check(
        rule=score,
        needs="reference" if settings.source == "reference" else None,
        fault=fault,
        aggregate=figures,
        takes_references=settings.source == "reference" or bool(settings.phrases),
    )


def _pairs(case: Case, settings: SlotsSettings) -> tuple[Counter[Pair] | None, Counter[Pair]]:
    """The wanted pairs, None where the row has none, and those of the answer."""
    try:
        wanted = _wanted(case, settings)
    except NoSlots:
        return None, Counter()
    if settings.source == "question":
        given = mentioned_pairs(
            case.answer, list(wanted), settings.phrases, ignore_case=settings.ignore_case
        )
    else:
        try:
            given = read_pairs(case.answer, field=settings.field, ignore_case=settings.ignore_case)
        except NoSlots:
            given = Counter()
    return wanted, _kept(given, settings)


def _wanted(case: Case, settings: SlotsSettings) -> Counter[Pair]:
    text = case.reference if settings.source == "reference" else case.question
    if text is None:
        raise NoSlots(f"there is no {settings.source}")
    found = read_pairs(text, field=settings.field, ignore_case=settings.ignore_case)
    kept = _kept(found, settings)
    return Counter(set(kept)) if settings.source == "question" else kept


def _kept(pairs: Counter[Pair], settings: SlotsSettings) -> Counter[Pair]:
    return Counter({pair: n for pair, n in pairs.items() if pair[0] not in settings.leave_out})


def _is_unsaid(slot: str, value: str, settings: SlotsSettings) -> bool:
    return settings.source == "question" and value in UNSAID and slot not in settings.phrases


def _f1(wanted: Counter[Pair], given: Counter[Pair]) -> float:
    total = wanted.total() + given.total()
    return 2 * (wanted & given).total() / total if total else 1.0


def _figures(counted: Sequence[tuple[Counter[Pair], Counter[Pair]]]) -> Figures:
    """Micro-averages: every pair of every row counts the same."""
    shared = sum(((wanted & given) for wanted, given in counted), Counter[Pair]())
    wanted = sum((wanted for wanted, _ in counted), Counter[Pair]())
    given = sum((given for _, given in counted), Counter[Pair]())
    names = sorted({slot for slot, _ in wanted})
    by_slot: dict[str, JsonValue] = {
        name: _prf(_of(shared, name), _of(wanted, name), _of(given, name)) for name in names
    }
    return {**_prf(shared.total(), wanted.total(), given.total()), "by_slot": by_slot}


def _of(pairs: Counter[Pair], slot: str) -> int:
    return sum(count for (name, _), count in pairs.items() if name == slot)


def _prf(shared: int, wanted: int, given: int) -> dict[str, JsonValue]:
    return {
        "precision": shared / given if given else None,
        "recall": shared / wanted if wanted else None,
        "f1": 2 * shared / (wanted + given) if wanted + given else None,
    }
