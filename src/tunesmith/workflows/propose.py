"""Which checks the answers of a data file suggest, and why."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tunesmith.counts import many
from tunesmith.data.rows import Conversation

# A label needs this many rows a value, an ending this many rows in all: fewer are chance.
ROWS_PER_LABEL, MOST_LABELS = 3, 100
ROWS_FOR_ENDING, MOST_ENDINGS, ENDING_SHARE = 10, 3, 0.99
LONGEST_ENDING = 40


@dataclass(frozen=True, slots=True)
class Proposal:
    """A check as the config writes it, and what in the answers suggests it."""

    check: Mapping[str, object]
    reason: str


def propose_checks(conversations: Sequence[Conversation]) -> list[Proposal]:
    """The checks that every answer of the data passes, the first the one that decides."""
    answers = [
        row.messages[row.supervised[-1]].content.strip()
        for row in conversations
        if row.supervised and not row.is_text
    ]
    if not answers:
        return []
    objects = _objects(answers)
    if objects is not None:
        return [_json_check(objects), *_label_keys(objects)]
    if is_label := _is_label(answers):
        return [Proposal({"kind": "label"}, f"the answers are {is_label}")]
    endings = _endings(answers)
    if endings:
        shown = ", ".join(endings)
        return [Proposal({"kind": "ends_with", "endings": endings}, f"answers end with {shown}")]
    return []


def _objects(answers: Sequence[str]) -> list[dict[str, object]] | None:
    """The answers as JSON objects; None unless all of them are."""
    found = []
    for answer in answers:
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        found.append(value)
    return found


def _json_check(objects: Sequence[Mapping[str, object]]) -> Proposal:
    """Valid JSON with the keys that every answer has."""
    keys = [key for key in objects[0] if all(key in each for each in objects)]
    reason = f"every answer ({len(objects):,}) is a JSON object"
    if not keys:
        return Proposal({"kind": "json"}, reason)
    schema = {"type": "object", "required": keys}
    return Proposal({"kind": "json", "schema": schema}, f"{reason} with these keys")


def _label_keys(objects: Sequence[Mapping[str, object]]) -> Iterator[Proposal]:
    """A label check for the key that names a class: of several, the one with most values."""
    found = []
    for key in objects[0]:
        values = [each.get(key) for each in objects]
        if all(isinstance(value, str) for value in values):
            texts = cast("list[str]", values)
            if (reason := _is_label(texts)) and len(set(texts)) > 1:
                found.append((len(set(texts)), key, reason))
    if found:
        _, key, reason = max(found, key=lambda each: each[0])
        yield Proposal({"kind": "label", "field": key}, f"the values of `{key}` are {reason}")


def _is_label(texts: Sequence[str]) -> str:
    """Why these texts are names of classes; "" if they are not."""
    distinct = len(set(texts))
    is_few = distinct <= MOST_LABELS and distinct * ROWS_PER_LABEL <= len(texts)
    return f"{many(distinct, 'different text')} in {many(len(texts), 'row')}" if is_few else ""


def _endings(answers: Sequence[str]) -> list[str]:
    """The one to three endings that nearly all answers have; [] where there is no such thing."""
    if len(answers) < ROWS_FOR_ENDING:
        return []
    whole = _shared_ending(answers)
    if len(whole) > 1:
        return [whole]
    bare = [_without_punctuation(answer) for answer in answers]
    last = Counter(text[-1] for text in bare if text and text[-1].isalpha())
    common = [(letter, count) for letter, count in last.most_common(MOST_ENDINGS)]
    if sum(count for _, count in common) < ENDING_SHARE * len(answers):
        return []
    groups = {letter: [t for t in bare if t.endswith(letter)] for letter, _ in common}
    kept = {letter: g for letter, g in groups.items() if len(g) >= ROWS_PER_LABEL}
    if sum(map(len, kept.values())) < ENDING_SHARE * len(answers):
        return []
    return [_shared_ending(group) or letter for letter, group in kept.items()]


def _shared_ending(texts: Sequence[str]) -> str:
    """What all texts end with, from the start of a word, without mere punctuation."""
    shortest = min(texts, key=len)
    length = 0
    while length < min(len(shortest), LONGEST_ENDING):
        if any(text[-length - 1] != shortest[-length - 1] for text in texts):
            break
        length += 1
    shared = shortest[len(shortest) - length :]
    is_cut = any(len(text) > length and text[-length - 1].isalnum() for text in texts)
    if is_cut and shared[:1].isalnum() and " " in shared:
        shared = shared.partition(" ")[2]
    shared = shared.strip()
    return shared if _without_punctuation(shared) else ""


def _without_punctuation(text: str) -> str:
    """``text`` without the punctuation, symbols and white space at its end."""
    end = len(text)
    while end and (text[end - 1].isspace() or unicodedata.category(text[end - 1])[0] in "PS"):
        end -= 1
    return text[:end]
