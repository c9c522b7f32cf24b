"""exact: is the answer the reference, white space around both set aside?"""

from dataclasses import dataclass

from tunesmith.config.checks import ExactSettings
from tunesmith.evaluate.checks.text import missing_reference, trimmed


@dataclass(frozen=True, slots=True)
class ExactCheck:
    """1.0 where answer and reference are the same text."""

    name: str

    def score(self, answer: str, reference: str | None) -> float:
        """1.0 for the same text after trimming, else 0.0."""
        return float(reference is not None and trimmed(answer) == trimmed(reference))

    def reference_fault(self, reference: str | None) -> str | None:
        """A fault where the row has no reference."""
        return missing_reference(reference)


def exact_check(settings: ExactSettings) -> ExactCheck:
    """The check that these settings describe."""
    return ExactCheck(settings.name or settings.kind)
