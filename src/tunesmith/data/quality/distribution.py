"""How rows are distributed: number, labels, lengths, languages, system prompts."""

import functools
import heapq
import json
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import shorten
from tunesmith.data.faults import Note
from tunesmith.data.quality.text import DataFinding, Seen, digest, fold, mixed
from tunesmith.data.rows import Conversation

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier


ROWS = 5000
MAX_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, order=True)
class Sampled:
    """A row of the sample: its number, question and answer, cut after MAX_CHARACTERS."""

    row: int
    question: str
    answer: str


class Sample:
    """All rows up to ROWS, and of more of them those with the least hash, in whatever order."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[int, int, str, str]] = []

    def observe(self, row: Seen) -> None:
        """Keep the row if it is one of the sample."""
        entry = (
            -mixed(row.question_key, row.answer_key),
            self.count,
            row.question[:MAX_CHARACTERS],
            row.answer[:MAX_CHARACTERS],
        )
        self.count += 1
        if len(self._kept) < ROWS:
            heapq.heappush(self._kept, entry)
        elif entry[0] > self._kept[0][0]:
            heapq.heapreplace(self._kept, entry)

    def rows(self) -> list[Sampled]:
        """The sample, in the order of the rows."""
        return sorted(Sampled(row, question, answer) for _, row, question, answer in self._kept)

    def scope(self) -> str:
        """What to add to a finding that holds for the sample only."""
        return f" (of {pluralize(ROWS, 'row')} looked at)" if self.count > ROWS else ""


# Below this a detector guesses; a text in other letters is recognized sooner.
MIN_CHARACTERS, MIN_OTHER = 40, 10
SURE = 0.95
MIN_SHARE = 0.01
LOOKED_AT = 200  # characters


def mixed_languages(sample: Sample) -> Iterator[DataFinding]:
    """The rows whose answer, or question, is surely in another language than most."""
    rows = sample.rows()
    for part in ("answer", "question"):
        found: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            if language := language_of(getattr(row, part)):
                found[language].append(row.row)
        total = sum(map(len, found.values()))
        common = max(found, key=lambda name: len(found[name]), default="")
        others = {
            name: numbers
            for name, numbers in found.items()
            if name != common and len(numbers) >= max(2, MIN_SHARE * total)
        }
        if others:
            by_count = sorted(others, key=lambda name: -len(found[name]))
            each = ", ".join(f"{name} {len(found[name]):,}" for name in (common, *by_count))
            rest = np.array(sorted(n for numbers in others.values() for n in numbers))
            what = f"{part}s in another language than most ({each}){sample.scope()}"
            yield DataFinding("languages", what, rest)


# Letters behind the Latin blocks, that with Vietnamese's aside.
_OTHER_LETTERS = re.compile(r"[^\W\d_\u0000-\u024f\u1e00-\u1eff]")


def language_of(text: str) -> str | None:
    """The ISO 639 code of the text's language; None where it is too short or no prose."""
    text = text.strip()
    is_latin = not _OTHER_LETTERS.search(text[:LOOKED_AT])
    if len(text) < (MIN_CHARACTERS if is_latin else MIN_OTHER) or parse_json(text) is not None:
        return None
    language, sure = _identifier().classify(text[:LOOKED_AT])
    return str(language) if sure >= SURE else None


MAX_ASKED = 200  # rows: enough to find a language that a tenth of them are in


def languages_of(rows: Sequence[Conversation]) -> dict[str, int]:
    """How many of at most ``MAX_ASKED`` evenly spread rows are in each language.

    By the answer, or where that is too short or no prose by what was said before it. By ISO 639
    code, the most frequent first; a row of which neither is recognized does not count.
    """
    chosen = rows[:: max(1, -(-len(rows) // MAX_ASKED))]
    return dict(Counter(filter(None, map(_language_of_row, chosen))).most_common())


def _language_of_row(row: Conversation) -> str | None:
    texts = [message.content for message in row.messages if message.role != "system"]
    return next((found for text in reversed(texts) if (found := language_of(text))), None)


def parse_json(text: str) -> object:
    """The object or list that a text is in JSON; None where it is none."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None


@functools.cache
def _identifier() -> "LanguageIdentifier":
    """The detector; its model is read once, in about a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


MAX_LABELS, ROWS_PER_LABEL = 1000, 3
LONGEST_LABEL = 100  # characters
# A class below a tenth of the largest: what imbalanced learning calls a moderate imbalance begins
# there (minority of 1 to 20 %, Google's machine learning course); under it a model that never
# answers the rare class loses nothing that shows.
RATIO = 10
# Where classes have so many rows in the mean, one with a single row is rare too, and often a typing
# error; of fewer, a sample of many classes has such by chance.
ROWS_BESIDE_ONE = 10
SHARE = 0.8  # of one answer, which a model that gives no other gets right
SHOWN = 3
_ROWS_PER_JSON_LABEL = 20  # a field with more values is a slot, not a class


class _Labels:
    """The labels of one field (None: the whole answer), each row's by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.rows = array("H")

    def add(self, label: object) -> bool:
        """Count a row's label; False once the field is none of labels."""
        if not isinstance(label, str) or len(label) > LONGEST_LABEL:
            return False
        self.rows.append(self.numbers.setdefault(label, len(self.numbers)))
        return len(self.numbers) <= MAX_LABELS


class Imbalance:
    """Counts answers as long as they can be labels, and those of JSON answers field by field."""

    def __init__(self) -> None:
        self._fields: dict[str | None, _Labels] | None = None
        self._count = 0

    def observe(self, row: Seen) -> None:
        """Count the row's answer."""
        if self._fields == {}:
            return
        values = _values(row.answer)
        if self._fields is None:
            self._fields = {name: _Labels() for name in values}
        for name, labels in list(self._fields.items()):
            if not labels.add(values.get(name)):
                del self._fields[name]
        self._count += 1

    def findings(self) -> Iterator[DataFinding]:
        """The classes that are rare beside the largest, for each field that holds classes."""
        for name, labels in (self._fields or {}).items():
            rows_each = np.bincount(np.array(labels.rows, dtype=np.int64))
            fewest = ROWS_PER_LABEL if name is None else _ROWS_PER_JSON_LABEL
            if len(rows_each) < 2 or fewest * len(rows_each) > self._count:
                continue
            rare = rows_each * RATIO < rows_each.max()
            if ROWS_BESIDE_ONE * len(rows_each) <= self._count:
                rare |= rows_each == 1
            if rare.any() or rows_each.max() > SHARE * self._count:
                chosen = rare if rare.any() else rows_each < rows_each.max()
                rows = np.flatnonzero(chosen[np.array(labels.rows, dtype=np.int64)])
                what = _message(name, list(labels.numbers), rows_each)
                yield DataFinding("imbalance", what, rows)


def _values(answer: str) -> Mapping[str | None, object]:
    """What may be a label: the fields of a JSON object, or the whole answer."""
    value = parse_json(answer.strip())
    return value if isinstance(value, dict) else {None: answer.strip()}


def _message(field: str | None, labels: list[str], rows_each: np.ndarray) -> str:
    order = np.argsort(rows_each, kind="stable").tolist()
    shown = [order[-1], *order[:SHOWN]] if len(order) > SHOWN else order[::-1]
    each = ", ".join(f"`{shorten(labels[i])}` {rows_each[i]:,}" for i in shown)
    what = "answers" if field is None else f"values of `{field}`"
    rare = f"rare {what} beside a common one, which the model will favor"
    return f"{rare} (rows of the most common and of the rarest: {each})"


# The longest document sets the memory of a run and the least size of its micro-batches.
TIMES, PERCENTILE = 4.0, 95.0
MIN_ROWS = 20


class LongTail:
    """Lengths of the rows, in characters of their messages."""

    def __init__(self) -> None:
        self._lengths = array("L")

    def observe(self, row: Seen) -> None:
        """Keep the row's length."""
        self._lengths.append(sum(len(m.content) for m in row.conversation.messages))

    def findings(self) -> Iterator[DataFinding]:
        """Rows of more than TIMES the length under which nearly all rows are."""
        lengths = np.array(self._lengths, dtype=np.int64)
        if len(lengths) < MIN_ROWS:
            return
        usual = np.percentile(lengths, PERCENTILE)
        long = np.flatnonzero(lengths > TIMES * usual)
        if len(long):
            what = (
                f"far longer than the others: {PERCENTILE:.0f} % of the rows have up to "
                f"{usual:,.0f} characters, the longest {lengths.max():,}; the longest row sets "
                "the memory that a run needs; --data.drop long_tail leaves them out"
            )
            yield DataFinding("long_tail", what, long)


MAX_PROMPTS = 1000
# A prompt in so few rows carries what the row is about, and has to differ.
ROWS_PER_PROMPT = 3
NONE = 0


class SystemPrompts:
    """Which system prompt each row has, and which of them held-out rows have."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._rows = array("l")
        self._held: set[int] = set()

    def hold(self, row: Seen) -> None:
        """A held-out row, which is asked as the model will be."""
        if len(self._held) <= MAX_PROMPTS:
            self._held.add(_key(row))

    def observe(self, row: Seen) -> None:
        """Keep which prompt it is."""
        key = _key(row)
        if key in self._numbers or len(self._numbers) <= MAX_PROMPTS:
            self._rows.append(self._numbers.setdefault(key, len(self._numbers)))
        else:
            self._rows.append(MAX_PROMPTS + 1)

    def findings(self) -> Iterator[DataFinding]:
        """Rows that differ from the most common prompt, and held-out rows that know others."""
        counts = Counter(self._rows)
        if not counts or len(counts) * ROWS_PER_PROMPT > len(self._rows):
            return
        common, _ = counts.most_common(1)[0]
        if len(counts) > 1:
            without = counts.get(self._numbers.get(NONE, -1), 0)
            others = len(counts) - bool(without)
            what = (
                f"another system prompt than the most common one ({pluralize(others, 'prompt')} in "
                f"all, {pluralize(without, 'row')} without any): ask the model with the right one"
            )
            rows = np.flatnonzero(np.array(self._rows) != common)
            yield DataFinding("system_prompt", what, rows)
        if self._held and (missing := self._held - self._numbers.keys()):
            asked = "without any" if missing == {NONE} else "under one that no training row has"
            what = f"another system prompt in evaluation than in training: rows are asked {asked}"
            yield DataFinding("system_prompt", what, count=len(self._rows))


def _key(row: Seen) -> int:
    return NONE if row.system is None else digest(fold(row.system))


def few_rows(rows: int, method: str, *, enough: int) -> tuple[Note, ...]:
    """A note where a training set has rows, and fewer than are ``enough`` for the method."""
    if not 0 < rows < enough:
        return ()
    what = f"few rows for {method}: from about {enough} on, results are steady"
    return (Note("few_rows", what, rows),)
