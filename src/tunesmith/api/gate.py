"""A verb's verdict as a gate of a build: its exit status, and the files that a server reads."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.show import Document, Outcome
from tunesmith.core import files
from tunesmith.core.errors import TunesmithError, UsageError
from tunesmith.core.language import current_language
from tunesmith.core.progress import Cancelled

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config import RunConfig
    from tunesmith.report.gate import Requirement


@dataclass(frozen=True, slots=True)
class Gate:
    """What is required of the verdict (None: nothing), and where it goes.

    In a job of GitHub each answer is also an annotation, and the card part of the job's summary.
    """

    require: "Requirement | None" = None
    junit: Path | None = None
    markdown: Path | None = None

    def over(self, call: Callable[[], Outcome]) -> Outcome:
        """What ``call`` gives, with the status that the verdict asks for.

        An error of it, or that it was stopped, is in both files too, and raised.
        """
        try:
            outcome = call()
        except TunesmithError as error:
            self._write_error(str(error))
            raise
        except Cancelled as stopped:
            self._write_error(f"Stopped before there was a verdict. {stopped}".rstrip())
            raise
        if self == Gate() and not _is_github():
            return outcome
        from tunesmith.report.gate import exit_status

        self._write(outcome)
        status = exit_status(outcome.evaluations(), self.require) if self.require else 0
        return Gated(outcome, outcome.status or status)

    def _write(self, outcome: Outcome) -> None:
        from tunesmith.report.gate import annotations, card, junit_xml

        language, found = current_language(), outcome.evaluations()
        if self.junit is not None:
            files.write_text(
                self.junit, junit_xml(found, self.require or "not-no", language=language)
            )
        if self.markdown is not None:
            files.write_text(self.markdown, card(found, language=language))
        if _is_github():
            sys.stderr.writelines(f"{line}\n" for line in annotations(found, language=language))
            if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
                with Path(summary).open("a", encoding="utf-8") as file:
                    file.write(card(found, language=language) + "\n")

    def _write_error(self, message: str) -> None:
        from tunesmith.report.gate import error_card, error_xml

        if self.junit is not None:
            files.write_text(self.junit, error_xml(message))
        if self.markdown is not None:
            files.write_text(self.markdown, error_card(message))


def require_checks(config: "RunConfig") -> None:
    """Raise UsageError where a verdict is required and a run would have none."""
    if not config.evaluate.checks:
        raise UsageError(
            "A verdict is required, and without a check there would be none.",
            remedy="Give one: --evaluate.checks exact (docs/checks.md lists them), or "
            "require nothing.",
        )
    if not config.data.eval:
        raise UsageError(
            "A verdict is required, and without held-out rows there would be none.",
            remedy="Hold some out (--data.eval 0.1), name a file of them, or require nothing.",
        )


def _is_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


@dataclass(frozen=True, slots=True)
class Gated(Outcome):
    """An outcome whose command ends with another status."""

    outcome: Outcome
    status: int = field(default=0)

    def to_json(self) -> Document:
        """The outcome's own document."""
        return self.outcome.to_json()

    def show(self, console: "Console") -> None:
        """As the outcome shows itself."""
        self.outcome.show(console)
