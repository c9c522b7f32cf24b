"""Values that a row may have or not: a text, a list, the turns before the question."""

import json
import math

from tunesmith.data.faults import Remark
from tunesmith.data.formats.layout import Parsed, Row
from tunesmith.data.records import kind_of
from tunesmith.data.rows import Message

ANSWERS = ("completion", "output", "response")


def optional_text(row: Row, column: str, parsed: Parsed) -> str:
    """The text of a column; "" where there is none, or where it is no text, which is noted."""
    value = row.get(column)
    if value is None or isinstance(value, str):
        return value or ""
    what = f'"{column}" must be text, this is {kind_of(value)}.'
    parsed.problem("wrong_type", what, remedy="Write it as text, or leave it out.")
    return ""


def needed_text(row: Row, column: str, parsed: Parsed) -> str:
    """The text of a column that must have one; what is wrong goes into ``parsed``."""
    value = row[column]
    if isinstance(value, str):
        return value
    if column in ANSWERS and (text := number_as_text(value, column, parsed)) is not None:
        return text
    what = f'"{column}" must be text, this is {kind_of(value)}.'
    parsed.problem("wrong_type", what, remedy="Write it as text.")
    return ""


def number_as_text(value: object, column: str, parsed: Parsed) -> str | None:
    """The text of a number that is an answer, as labels and ratings are, and that is told.

    A whole number in a column of decimals (which is how pandas saves a column with a gap) has no
    point. None for what is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    what = f'numbers in "{column}" are read as their text'
    parsed.remarks.append(Remark("numbers_as_text", what))
    return str(int(value)) if value == int(value) else str(value)


def as_list(value: object) -> object:
    """The value, or the list that stands in it as JSON: a table has texts only."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def opening(row: Row, parsed: Parsed) -> list[Message]:
    """The system prompt and the turns of `history`, as far as the row has them."""
    system = optional_text(row, "system", parsed)
    messages = [Message("system", system)] if system else []
    history = as_list(row.get("history"))
    if history is None or history == "":
        return messages
    if not isinstance(history, list):
        what = f'"history" must be a list of pairs, this is {kind_of(history)}.'
        parsed.problem("wrong_type", what, remedy='Write it as [["question", "answer"], ...].')
        return messages
    for number, pair in enumerate(history, start=1):
        is_pair = isinstance(pair, list | tuple) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            what = f'turn {number} of "history" is no pair of texts.'
            parsed.problem("wrong_type", what, remedy='Write it as ["question", "answer"].')
            continue
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    return messages
