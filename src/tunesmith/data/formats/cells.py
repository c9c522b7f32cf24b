"""Values that a row may have or not: a text, a list, the turns before the question."""

import json

from tunesmith.data.formats.layout import Parsed, Row
from tunesmith.data.records import kind_of
from tunesmith.data.rows import Message


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
    what = f'"{column}" must be text, this is {kind_of(value)}.'
    parsed.problem("wrong_type", what, remedy="Write it as text.")
    return ""


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
