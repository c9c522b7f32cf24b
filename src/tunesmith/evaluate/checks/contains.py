"""contains: does the answer hold all of the given texts, or one of them?"""

from tunesmith.config.checks import ContainsSettings
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.text import composed, folded


def contains_check(settings: ContainsSettings) -> Check:
    """1.0 where the answer holds every text as it is written; with `any`, where it holds one."""
    wanted = [composed(text, ignore_case=settings.ignore_case) for text in settings.texts]
    enough = any if settings.any else all

    def holds(case: Case) -> float:
        answer = folded(case.answer, ignore_case=settings.ignore_case)
        return float(enough(text in answer for text in wanted))

    return Check(name=settings.name or settings.kind, rule=holds)
