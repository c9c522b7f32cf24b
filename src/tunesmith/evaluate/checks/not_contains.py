"""not_contains: does the answer hold none of the given texts?"""

from tunesmith.config.checks import NotContainsSettings
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.text import composed, folded


def not_contains_check(settings: NotContainsSettings) -> Check:
    """1.0 where no text is found as it is written; an empty answer scores 0."""
    unwanted = [composed(text, ignore_case=settings.ignore_case) for text in settings.texts]

    def lacks(case: Case) -> float:
        answer = folded(case.answer, ignore_case=settings.ignore_case)
        return float(not any(text in answer for text in unwanted))

    return Check(name=settings.name or settings.kind, rule=lacks)
