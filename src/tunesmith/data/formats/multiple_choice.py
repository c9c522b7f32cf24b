"""Multiple-choice rows: {"query": "...", "choices": ["...", ...], "gold": 0}.

`gold` is the place of the right choice, counted from 0, or its text; a place in quotes is one as
long as no other choice has that text. The layout of ARC and its kin is read as well: choices as
{"text": [...], "label": ["A", ...]} with the label of the right one; where labels are numbers, a
number is one of them and no place.
"""

from tunesmith.data.faults import Remark
from tunesmith.data.formats.cells import as_list, needed_text
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.records import kind_of
from tunesmith.data.rows import Message

OTHERS = Remark(
    "choices_unused", "the right choice is trained as the answer; the others are not used"
)


def parse(row: Row) -> Parsed:
    """The query is what the user says, the text of the right choice the answer."""
    parsed = Parsed(remarks=[OTHERS])
    query = needed_text(row, "query", parsed)
    texts, labels = _choices(row["choices"], parsed)
    answer = _gold(row["gold"], texts, labels, parsed) if texts else ""
    parsed.messages = [Message("user", query), Message("assistant", answer.strip())]
    return parsed


def _choices(given: object, parsed: Parsed) -> tuple[list[str], list[str]]:
    """The choices, and their labels where they have some."""
    value, labels = as_list(given), []
    if isinstance(value, dict) and "text" in value:
        value, labels = value["text"], value.get("label", [])
    texts = _texts(value, parsed)
    if texts == []:
        parsed.problem("empty", '"choices" is an empty list.', remedy="Remove the row.")
    return texts or [], _texts(labels, parsed) or []


def _texts(values: object, parsed: Parsed) -> list[str] | None:
    if not isinstance(values, list):
        what = f'"choices" must be a list of texts, this is {kind_of(values)}.'
    elif all(isinstance(value, str) for value in values):
        return values
    else:
        what = '"choices" holds other things than texts.'
    parsed.problem("wrong_type", what, remedy='Write it as ["...", "..."].')
    return None


def _gold(value: object, texts: list[str], labels: list[str], parsed: Parsed) -> str:
    """The right choice, by its label, its place or its text."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    name = str(value) if is_number or isinstance(value, str) else ""
    if name in labels and len(labels) == len(texts):
        return texts[labels.index(name)]
    is_counted = not any(label.isdecimal() for label in labels)
    by_place = {str(place): text for place, text in enumerate(texts)} if is_counted else {}
    if name in by_place and (is_number or name not in texts or by_place[name] == name):
        return by_place[name]
    if name in by_place:
        what = f'"gold" is {value!r}: the place of {by_place[name]!r:.80}, or that choice itself.'
        remedy = "Write JSON lines, where the number is a place, or give the choices labels."
    elif not is_number and name in texts:
        return name
    elif by_place:
        known = f"{len(texts)} choices (0 to {len(texts) - 1})"
        what = f'"gold" must be the place of one of {known}, not {value!r:.80}.'
        remedy = "Count the choices from 0."
    else:
        what = f'"gold" must be one of the labels, not {value!r:.80}.'
        remedy = f"Write one of {', '.join(labels):.80}."
    parsed.problem("wrong_gold", what, remedy=remedy)
    return ""


MULTIPLE_CHOICE = Format(
    name="multiple-choice",
    columns={"query": ("question",), "choices": ("options",), "gold": ("answer", "label")},
    parse=parse,
    example='{"query": "...", "choices": ["...", "..."], "gold": 0}',
    synonyms={"question": "query", "answerKey": "gold", "answer": "gold", "label": "gold"},
)
