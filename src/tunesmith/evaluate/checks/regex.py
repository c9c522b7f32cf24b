"""regex: is a pattern found in the answer?"""

import re
from dataclasses import dataclass

from tunesmith.config.checks import RegexSettings


@dataclass(frozen=True, slots=True)
class RegexCheck:
    """1.0 where the pattern is found anywhere; anchor it with ^ and $ for the whole answer."""

    name: str
    pattern: re.Pattern[str]

    def score(self, answer: str, reference: str | None) -> float:  # noqa: ARG002 (protocol)
        """1.0 where the pattern is found in the answer as it stands, else 0.0."""
        return float(self.pattern.search(answer) is not None)

    def reference_fault(self, reference: str | None) -> str | None:  # noqa: ARG002 (protocol)
        """None: no reference is needed."""
        return None


def regex_check(settings: RegexSettings) -> RegexCheck:
    """The check that these settings describe."""
    return RegexCheck(settings.name or settings.kind, pattern=re.compile(settings.pattern))
