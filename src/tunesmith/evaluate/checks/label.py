"""label: is the answer, or one key of a JSON answer, the class that the reference names?"""

from dataclasses import dataclass

from pydantic import JsonValue

from tunesmith.config.checks import LabelSettings
from tunesmith.evaluate.checks.json_text import NotJson, same_value, value_of_key
from tunesmith.evaluate.checks.text import missing_reference


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """1.0 where answer and reference name the same class."""

    name: str
    field: str | None
    ignore_case: bool

    def score(self, answer: str, reference: str | None) -> float:
        """1.0 for the same label; 0.0 otherwise, also where JSON or its key is missing."""
        if reference is None:
            return 0.0
        try:
            given, wanted = self._label(answer), self._label(reference)
        except NotJson:
            return 0.0
        return float(same_value(given, wanted, ignore_case=self.ignore_case))

    def reference_fault(self, reference: str | None) -> str | None:
        """A fault where the reference is missing or does not hold the key."""
        if reference is None:
            return missing_reference(reference)
        try:
            self._label(reference)
        except NotJson as error:
            return f"the reference cannot be compared by field: {error}"
        return None

    def _label(self, text: str) -> JsonValue:
        return text if self.field is None else value_of_key(text, self.field)


def label_check(settings: LabelSettings) -> LabelCheck:
    """The check that these settings describe."""
    return LabelCheck(
        settings.name or settings.kind, field=settings.field, ignore_case=settings.ignore_case
    )
