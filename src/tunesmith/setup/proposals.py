"""Which checks do the answers of a data file suggest, and why?"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import cast

from tunesmith.config.checks import CheckSettings
from tunesmith.config.checks_reference import SlotsSettings, StepsSettings
from tunesmith.core.numbers import pluralize
from tunesmith.data.rows import Conversation
from tunesmith.evaluation.checks.check import Case, score_cases
from tunesmith.evaluation.checks.numbers import final_number, is_number
from tunesmith.evaluation.checks.slots import BRACKETS, UNSAID
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.checks.text_rules import count_words, is_mark
from tunesmith.setup.persona import (
    Persona,
    forbidden_phrases,
    language_check,
    name_check,
    persona_of,
    politeness_check,
    propose_system,
    system_remarks,
)
from tunesmith.setup.proposal import Proposal, passes, scored

# Fewer rows, or a smaller share of them, are chance.
MIN_ROWS, SHARE = 10, 0.99
FORMULA = 0.95  # of the answers: a closing formula, which people forget now and then
ROWS_PER_ENDING, MAX_ENDINGS, LONGEST_ENDING = 3, 3, 40
MAX_PHRASE_WORDS = 6
PAUSES = ".!?~…,;:。！？、 \n\t"  # with which another sentence ends
MARK = re.compile(r"[^\w\s]{2,}|<[^<>\s]+>")
VALUE = re.compile(r"(?=.*\d)[\w.:/+@#-]{1,40}")  # a date, a code, an address; no word


def common_endings(answers: Sequence[str]) -> list[str]:
    """The one to three endings that nearly all answers have; [] where there is no such thing."""
    if len(answers) < MIN_ROWS:
        return []
    whole = _shared_ending(answers)
    if len(whole) > 1:
        return [whole]
    if " " in (phrase := _shared_ending(_alike(answers))):  # no mere form of a verb
        return [phrase]
    bare = [_without_punctuation(answer) for answer in answers]
    last = Counter(text[-1] for text in bare if text and text[-1].isalpha())
    common = [(letter, count) for letter, count in last.most_common(MAX_ENDINGS)]
    if sum(count for _, count in common) < SHARE * len(answers):
        return []
    groups = {letter: [t for t in bare if t.endswith(letter)] for letter, _ in common}
    kept = {letter: g for letter, g in groups.items() if len(g) >= ROWS_PER_ENDING}
    if sum(map(len, kept.values())) < SHARE * len(answers):
        return []
    return [_shared_ending(group) or letter for letter, group in kept.items()]


def _alike(answers: Sequence[str]) -> Sequence[str]:
    """Nearly all answers: those with the longest ending that so many share."""
    group = answers
    for length in range(1, LONGEST_ENDING + 1):
        ((tail, count),) = Counter(text[-length:] for text in group).most_common(1)
        if count < FORMULA * len(answers):
            break
        group = [text for text in group if text.endswith(tail)]
    return group


def _prefix(rows: Iterable[Sequence[str]]) -> list[str]:
    """The items that all rows begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return [column[0] for column in columns]


def _shared_ending(texts: Sequence[str]) -> str:
    """What all texts end with, from the start of a word, without mere punctuation."""
    shared = "".join(_prefix(text[: -LONGEST_ENDING - 1 : -1] for text in texts))[::-1]
    length = len(shared)
    is_cut = any(len(text) > length and text[-length - 1].isalnum() for text in texts)
    if is_cut and shared[:1].isalnum() and " " in shared:
        shared = shared.partition(" ")[2]
    shared = shared.lstrip(PAUSES).strip()  # what ends the sentence before
    return shared if _without_punctuation(shared) else ""


def _without_punctuation(text: str) -> str:
    """``text`` without the punctuation, symbols and white space at its end."""
    end = len(text)
    while end and is_mark(text[end - 1]):
        end -= 1
    return text[:end]


def common_beginning(answers: Sequence[str]) -> str:
    """The words that all answers begin with; "" where they have none in common."""
    if len(answers) < MIN_ROWS:
        return ""
    text = " ".join(_prefix(answer.split(" ") for answer in answers)).strip()
    is_whole = text == min(answers, key=len)
    return "" if is_whole or not any(map(str.isalnum, text)) else text


def common_part(answers: Sequence[str]) -> str:
    """A phrase of words, or else a mark such as `####`, that all answers hold; "" without one."""
    if len(answers) < MIN_ROWS:
        return ""
    shortest = min(answers, key=len)
    words = shortest.split()
    for length in range(min(MAX_PHRASE_WORDS, len(words)), 1, -1):
        for start in range(len(words) - length + 1):
            phrase = " ".join(words[start : start + length])
            if all(phrase in answer for answer in answers):
                return phrase
    marks = sorted(set(MARK.findall(shortest)), key=len, reverse=True)
    return next((mark for mark in marks if all(mark in answer for answer in answers)), "")


# A label needs this many rows a value: fewer are chance.
ROWS_PER_LABEL, MAX_LABELS = 3, 300
MARKER = "####"
MAX_WORDS = 100  # a higher limit means little
MENTIONED = 0.8  # mean score of the data's own answers from which slots are worth a check


@dataclass(frozen=True, slots=True)
class Proposals:
    """Checks that nearly every answer of the data passes, the first the one that decides.

    ``system`` is a system prompt for rows without one, ``remarks`` where the one that they will
    have disagrees with their answers.
    """

    checks: tuple[Proposal, ...] = ()
    system: str | None = None
    remarks: tuple[str, ...] = ()


def propose(
    conversations: Sequence[Conversation],
    *,
    system: str | None = None,
    inserted: str | None = None,
) -> Proposals:
    """What the rows of a file, as they are in it, suggest.

    ``system`` is the system prompt that a user gives them, ``inserted`` the one that the base's
    chat template writes by itself where a row has none.
    """
    rows = [row for row in conversations if row.supervised and not row.is_text]
    if calling := [row for row in rows if row.messages[row.supervised[-1]].tool_calls]:
        reason = f"{len(calling):,} of {pluralize(len(rows), 'answer')} call tools"
        return Proposals((Proposal({"kind": "tool_call"}, reason),))
    answers = [row.messages[row.supervised[-1]].content.strip() for row in rows]
    if not answers:
        return Proposals()
    found, persona = _of_data(rows, answers), None
    if found is None:
        persona = persona_of(answers)
        found = [*_of_speech(answers, persona, inserted)]
    checks = tuple(scored(each, rows) for each in found)
    remarks = tuple(system_remarks(rows, persona, given=system, inserted=inserted))
    proposed = propose_system(rows, persona) if persona and not system else None
    return Proposals(checks, proposed, remarks)


def propose_checks(conversations: Sequence[Conversation]) -> list[Proposal]:
    """The checks alone."""
    return list(propose(conversations).checks)


def _of_data(rows: Sequence[Conversation], answers: Sequence[str]) -> list[Proposal] | None:
    """The checks of answers that are data: objects, labels, numbers, slots; None for speech.

    Few answers that are neither get no checks.
    """
    objects = _objects(answers)
    if objects is not None:  # the form last: an answer that passes the others has it
        return [*_label_keys(objects), *_slot_keys(objects), _json_check(objects)]
    if is_label := _is_label(answers):
        return [Proposal({"kind": "label"}, f"the answers are {is_label}")]
    if len(answers) < MIN_ROWS:
        return []
    found = [*_numbers(answers), *_slots(answers), *_asked_slots(rows, answers)]
    if not found and _share(answers, lambda text: bool(VALUE.fullmatch(text))):
        return [Proposal({"kind": "exact"}, "each answer is a single value")]
    return [*found, *_length(answers)] if found else None


def _of_speech(
    answers: Sequence[str], persona: Persona, inserted: str | None
) -> Iterator[Proposal]:
    """The checks of answers that somebody speaks."""
    yield from name_check(answers, persona)
    yield from _common(answers, persona)
    yield from language_check(answers, persona)
    yield from _length(answers)
    yield from forbidden_phrases(answers, persona, inserted)


def _numbers(answers: Sequence[str]) -> Iterator[Proposal]:
    """The final number, where each answer has one after a marker or is one; then its steps."""
    if _share(answers, lambda text: final_number(text, marker=MARKER) is not None):
        yield Proposal(
            {"kind": "number", "marker": MARKER}, f"answers end with a number after {MARKER}"
        )
        steps = StepsSettings(steps="lines", at_least=1, marker=MARKER)
        if _passes(steps, answers):
            plain = {"kind": "steps", **steps.model_dump(exclude_unset=True)}
            yield Proposal(plain, "and show their steps before it, one a line")
    elif _share(answers, lambda text: is_number(text) and text == _bare(text)):
        yield Proposal({"kind": "number"}, "the answers are numbers")


def _bare(text: str) -> str:
    """The text without its letters."""
    return "".join(letter for letter in text if not letter.isalpha())


def _slots(answers: Sequence[str]) -> Iterator[Proposal]:
    if _share(answers, lambda text: bool(BRACKETS.search(text))) and _passes(
        SlotsSettings(), answers
    ):
        yield Proposal({"kind": "slots"}, "the answers are slots with values, name[value]")


def _asked_slots(rows: Sequence[Conversation], answers: Sequence[str]) -> Iterator[Proposal]:
    """Slots that the questions hold as name[value], where the answers mention most values."""
    questions = [row.messages[max(0, row.supervised[-1] - 1)].content for row in rows]
    if not _share(questions, lambda text: bool(BRACKETS.search(text))):
        return
    unsaid = {
        slot
        for text in questions
        for slot, value in BRACKETS.findall(text)
        if value.strip().lower() in UNSAID
    }
    settings = SlotsSettings(source="question", leave_out=tuple(sorted(unsaid)))
    (check,) = build_checks([settings])
    cases = [Case(a, a, q) for q, a in zip(questions, answers, strict=True)]
    scores = [score or 0.0 for score in score_cases(check, cases).scores]
    mean = sum(scores) / len(scores)
    if mean >= MENTIONED:
        left_out = {"leave_out": sorted(unsaid)} if unsaid else {}
        yield Proposal(
            {"kind": "slots", "source": "question", **left_out},
            "answers mention the values of the question's slots",
        )


def _common(answers: Sequence[str], persona: Persona) -> Iterator[Proposal]:
    """How all answers end and begin, else what all of them hold.

    A level of politeness says more than several endings that happen to be there.
    """
    endings = common_endings(answers)
    if persona.level is not None and len(endings) != 1:
        endings = list(persona.level.endings)
        yield politeness_check(persona.level)
    elif endings:
        shown = ", ".join(endings)
        yield Proposal({"kind": "ends_with", "endings": endings}, f"answers end with {shown}")
    if beginning := common_beginning(answers):
        check = {"kind": "starts_with", "beginnings": [beginning]}
        yield Proposal(check, "all answers begin with it")
    if not endings and not beginning and (part := common_part(answers)):
        yield Proposal({"kind": "contains", "texts": [part]}, "all answers hold it")


def _length(answers: Sequence[str]) -> Iterator[Proposal]:
    """The word count that nearly all answers stay within."""
    counts = sorted(count_words(text) for text in answers)
    words = counts[math.ceil(SHARE * len(counts)) - 1]
    if 1 < words <= MAX_WORDS:
        yield Proposal(
            {"kind": "max_words", "words": words},
            f"answers have {words} words at most, half of them {counts[len(counts) // 2]}",
        )


def _passes(settings: CheckSettings, answers: Sequence[str]) -> bool:
    """Whether nearly all answers pass the check."""
    return passes(settings, answers, share=SHARE)


def _share(answers: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return sum(map(holds, answers)) >= SHARE * len(answers)


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


def _slot_keys(objects: Sequence[Mapping[str, object]]) -> Iterator[Proposal]:
    """A slots check for each key under which every answer has an object of its own."""
    for key in objects[0]:
        if all(isinstance(each.get(key), dict) for each in objects):
            reason = f"`{key}` is an object of slots and their values"
            yield Proposal({"kind": "slots", "field": key}, reason)


def _is_label(texts: Sequence[str]) -> str | None:
    """Why these texts are names of classes; None if they are not."""
    distinct = len(set(texts))
    is_few = distinct <= MAX_LABELS and distinct * ROWS_PER_LABEL <= len(texts)
    return (
        f"{pluralize(distinct, 'different text')} in {pluralize(len(texts), 'row')}"
        if is_few
        else None
    )
