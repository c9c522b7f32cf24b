"""regex: is a pattern found in the answer?"""

import re

from tunesmith.config.checks import RegexSettings
from tunesmith.evaluate.checks.protocol import Check


def regex_check(settings: RegexSettings) -> Check:
    """1.0 where the pattern is found in the answer as it stands; ^ and $ anchor it."""
    pattern = re.compile(settings.pattern)
    return Check(
        name=settings.name or settings.kind,
        rule=lambda case: float(pattern.search(case.answer) is not None),
    )
