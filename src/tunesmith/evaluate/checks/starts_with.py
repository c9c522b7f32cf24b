"""starts_with: does the answer start with one of the given texts?"""

from tunesmith.config.checks import StartsWithSettings
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.text import composed, folded


def starts_with_check(settings: StartsWithSettings) -> Check:
    """1.0 where one of the beginnings begins the answer, white space before it set aside."""
    case_counts = not settings.ignore_case
    beginnings = tuple(composed(text, ignore_case=not case_counts) for text in settings.beginnings)

    def starts(case: Case) -> float:
        return float(folded(case.answer, ignore_case=not case_counts).startswith(beginnings))

    return Check(name=settings.name or settings.kind, rule=starts)
