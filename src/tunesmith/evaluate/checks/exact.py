"""exact: is the answer the reference, white space around both set aside?"""

from tunesmith.config.checks import ExactSettings
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.text import missing_reference, trimmed


def exact_check(settings: ExactSettings) -> Check:
    """1.0 where answer and reference are the same text after trimming."""
    return Check(name=settings.name or settings.kind, rule=_same, fault=missing_reference)


def _same(case: Case) -> float:
    return float(case.reference is not None and trimmed(case.answer) == trimmed(case.reference))
