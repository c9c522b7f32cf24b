"""Whether some answers are far more common than others, where answers are a few labels."""

import json
from array import array
from collections.abc import Iterator, Mapping

import numpy as np

from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.text import Seen

MOST_LABELS, ROWS_PER_LABEL = 1000, 3
LONGEST_LABEL = 100  # characters
# A class below a tenth of the largest: what imbalanced learning calls a moderate imbalance begins
# there (minority of 1 to 20 %, Google's machine learning course); under it a model that never
# answers the rare class loses nothing that shows.
RATIO = 10
SHARE = 0.8  # of one answer, which a model that gives no other gets right
SHOWN, SHOWN_CHARACTERS = 3, 40
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
        return len(self.numbers) <= MOST_LABELS


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

    def findings(self) -> Iterator[Finding]:
        """The classes that are rare beside the largest, for each field that holds classes."""
        for name, labels in (self._fields or {}).items():
            rows_each = np.bincount(np.array(labels.rows, dtype=np.int64))
            fewest = ROWS_PER_LABEL if name is None else _ROWS_PER_JSON_LABEL
            if len(rows_each) < 2 or fewest * len(rows_each) > self._count:
                continue
            rare = rows_each * RATIO < rows_each.max()
            if rare.any() or rows_each.max() > SHARE * self._count:
                chosen = rare if rare.any() else rows_each < rows_each.max()
                rows = np.flatnonzero(chosen[np.array(labels.rows, dtype=np.int64)])
                yield Finding("imbalance", _message(name, list(labels.numbers), rows_each), rows)


def _values(answer: str) -> Mapping[str | None, object]:
    """What may be a label: the fields of a JSON object, or the whole answer."""
    text = answer.strip()
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return {None: text}
        if isinstance(value, dict):
            return value
    return {None: text}


def _message(field: str | None, labels: list[str], rows_each: np.ndarray) -> str:
    order = np.argsort(rows_each, kind="stable").tolist()
    shown = [order[-1], *order[:SHOWN]] if len(order) > SHOWN else order[::-1]
    each = ", ".join(f"`{_short(labels[i])}` {rows_each[i]:,}" for i in shown)
    what = "answers" if field is None else f"values of `{field}`"
    rare = f"rare {what} beside a common one, which the model will favour"
    return f"{rare} (rows of the most common and of the rarest: {each})"


def _short(label: str) -> str:
    return label if len(label) <= SHOWN_CHARACTERS else f"{label[:SHOWN_CHARACTERS]}…"
