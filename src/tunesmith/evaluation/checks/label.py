"""label: is the answer, or one key of a JSON answer, the class that the reference names?"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydantic import JsonValue

from tunesmith.config.checks import CheckSettings
from tunesmith.config.checks_reference import LabelSettings, NumberSettings
from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluation.checks.check import Case, Check, Figures, folded
from tunesmith.evaluation.checks.json_text import NotJson, parse_json, same_value, value_of_key
from tunesmith.evaluation.checks.numbers import final_number

OTHER = "(another text)"
NONE = "(no label)"


def label_check(settings: LabelSettings) -> Check:
    """1.0 where answer and reference name the same class; with macro-F1 and a confusion matrix."""
    return _checked(_LabelRule(settings))


def _checked(labels: "_LabelRule") -> Check:
    return Check(
        rule=labels.score,
        needs="reference",
        fault=labels.fault,
        aggregate=labels.figures,
        fit=lambda own, _base: _checked(labels.knowing(own)),
    )


@dataclass(frozen=True, slots=True)
class _LabelRule:
    """Where the label of a text is, and whether its case counts; the classes of the training rows,
    where they are known.
    """

    settings: LabelSettings
    trained: frozenset[str] = frozenset()

    def knowing(self, answers: Sequence[str]) -> "_LabelRule":
        """The same with the classes of these answers, by which confusions are named."""
        return replace(self, trained=frozenset(map(self._name, answers)))

    def score(self, case: Case) -> float:
        """1.0 for the same label; 0.0 otherwise, also where JSON or its key is missing."""
        try:
            given, wanted = self._value(case.answer), self._value(case.wanted)
        except NotJson:
            return 0.0
        return float(same_value(given, wanted, ignore_case=self.settings.ignore_case))

    def fault(self, case: Case) -> str | None:
        """A fault where the reference does not hold the key."""
        try:
            self._value(case.wanted)
        except NotJson as error:
            return f"the reference cannot be compared by field: {error}"
        return None

    def figures(self, cases: Sequence[Case]) -> Figures:
        """Macro-F1 and the confusion matrix."""
        pairs = [(self._name(case.wanted), self._name(case.answer)) for case in cases]
        return confusion_figures(pairs, self.trained)

    def _value(self, text: str) -> JsonValue:
        return text if self.settings.field is None else value_of_key(text, self.settings.field)

    def _name(self, text: str) -> str:
        found = read_label(text, self.settings) if text.strip() else None
        return NONE if found is None else found


def read_label(text: str, settings: LabelSettings) -> str | None:
    """The label of a text, as answers are compared by it; None where the JSON key is missing."""
    try:
        value = text if settings.field is None else value_of_key(text, settings.field)
    except NotJson:
        return None
    if isinstance(value, str):
        return folded(value, ignore_case=settings.ignore_case)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def confusion_figures(pairs: Sequence[tuple[str, str]], trained: Collection[str] = ()) -> Figures:
    """Macro-F1 over the wanted classes, and how often each wanted class got which answer.

    ``pairs`` are (wanted, given). What is neither a wanted class nor one of ``trained`` counts as
    one other: its own F1 is 0 and would say nothing, so it is left out of the mean (as with
    scikit-learn's `labels`).
    """
    classes = sorted({wanted for wanted, _ in pairs})
    known = {*classes, *trained, NONE}
    table = Counter((wanted, given if given in known else OTHER) for wanted, given in pairs)
    wanted_count = Counter(wanted for wanted, _ in pairs)
    given_count = Counter(given for _, given in pairs)
    f1 = {
        each: 2 * table[each, each] / (wanted_count[each] + given_count[each]) for each in classes
    }
    confusion: dict[str, JsonValue] = {
        each: {given: n for (wanted, given), n in sorted(table.items()) if wanted == each}
        for each in classes
    }
    return {"macro_f1": sum(f1.values()) / len(f1), "confusion": confusion}


Label = Callable[[str], Hashable]
"""What an answer means, whatever its wording: equal where two answers mean the same."""


def label_of(checks: Sequence[CheckSettings]) -> Label:
    """By the first check that reads a label or a number out of an answer, else the whole text
    without case and punctuation.

    Answers in which that check finds nothing agree only where their texts do.
    """
    for check in checks:
        if isinstance(check, LabelSettings):
            return _either(partial(read_label, settings=check))
        if isinstance(check, NumberSettings):
            return _either(partial(_number, check=check))
    return _either(_json)


def _either(read: Callable[[str], Hashable | None]) -> Label:
    def label(text: str) -> Hashable:
        found = read(text)
        return ("text", bare(fold(text))) if found is None else ("label", found)

    return label


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
