"""What does an answer answer? The value by which two answers are the same, however written."""

import json
from collections.abc import Callable, Hashable, Sequence
from functools import partial

from tunesmith.config.checks import CheckSettings, LabelSettings, NumberSettings
from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluate.checks.final_number import final_number
from tunesmith.evaluate.checks.json_text import NotJson, parse_json, value_of_key
from tunesmith.evaluate.checks.text import folded
from tunesmith.evaluate.consistency.agreement import Label


def label_of(checks: Sequence[CheckSettings]) -> Label:
    """By the first check that reads a label or a number out of an answer, else the whole text
    without case and punctuation.

    Answers in which that check finds nothing agree only where their texts do.
    """
    for check in checks:
        if isinstance(check, LabelSettings):
            return _either(partial(_label, check=check))
        if isinstance(check, NumberSettings):
            return _either(partial(_number, check=check))
    return _either(_json)


def _either(read: Callable[[str], Hashable | None]) -> Label:
    def label(text: str) -> Hashable:
        found = read(text)
        return ("text", bare(fold(text))) if found is None else ("label", found)

    return label


def _label(text: str, check: LabelSettings) -> Hashable | None:
    if check.field is None:
        return folded(text, ignore_case=check.ignore_case)
    try:
        value = value_of_key(text, check.field)
    except NotJson:
        return None
    if isinstance(value, str):
        return folded(value, ignore_case=check.ignore_case)
    return json.dumps(value, sort_keys=True)


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
