"""What is a check: a named rule that gives one answer a score from 0.0 to 1.0."""

from collections.abc import Sequence
from typing import Protocol

from tunesmith.errors import DataError

SHOWN_FAULTS = 10


class Check(Protocol):
    """A rule that an answer must pass; pure, so that the same answer always scores the same."""

    @property
    def name(self) -> str:
        """The name under which scores are reported, unique within one evaluation."""
        ...

    def score(self, answer: str, reference: str | None) -> float:
        """0.0 (fails) .. 1.0 (passes); 0.0 against a reference that `reference_fault` names."""
        ...

    def reference_fault(self, reference: str | None) -> str | None:
        """Why no answer could pass against this reference; None where one can."""
        ...


def require_references(checks: Sequence[Check], references: Sequence[str | None]) -> None:
    """Raise DataError where a check could not score a row, before anything is generated for it."""
    faults = [
        f"check `{check.name}`, row {row}: {fault}"
        for check in checks
        for row, reference in enumerate(references, start=1)
        if (fault := check.reference_fault(reference)) is not None
    ]
    if faults:
        more = len(faults) - SHOWN_FAULTS
        shown = [*faults[:SHOWN_FAULTS], *([f"... and {more} more"] if more > 0 else [])]
        raise DataError(
            "\n".join(shown),
            remedy="Mend these evaluation rows, or take the check out of evaluate.checks.",
        )
