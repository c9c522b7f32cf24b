"""Which slots with which values does a text hold: as JSON, as `name[x], food[y]`, or in words?"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tunesmith.evaluate.checks.json_text import NotJson, parse_json, value_of_key
from tunesmith.evaluate.checks.text import folded

Pair = tuple[str, str]  # slot, value
BRACKETS = re.compile(r"([^\W\d][\w .-]*)\[([^\[\]]*)\]")


class NoSlots(ValueError):
    """The text holds slots in neither notation."""


def read_pairs(text: str, *, field: str | None, ignore_case: bool) -> Counter[Pair]:
    """Every slot with its value, as often as it stands there.

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
    slot: str,
    value: str,
    phrases: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    ignore_case: bool,
) -> list[str]:
    """What mentions the pair: the phrases that are given for it, else its value itself."""
    for given, texts in phrases.get(slot, {}).items():
        if _value(given, ignore_case) == value:
            return [_value(text, ignore_case) for text in texts]
    return [value]


def _pattern(phrase: str) -> re.Pattern[str]:
    """The phrase as words of its own; letters of other scripts may follow, as 에서 in 서울에서."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(phrase)}(?![A-Za-z0-9])")
