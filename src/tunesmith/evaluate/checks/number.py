"""number: is the final number of the answer that of the reference?"""

from tunesmith.config.checks import NumberSettings
from tunesmith.evaluate.checks.final_number import final_number, same_number
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.text import missing_reference


def number_check(settings: NumberSettings) -> Check:
    """1.0 where the final numbers are the same within the tolerance."""

    def score(case: Case) -> float:
        wanted = final_number(case.reference or "", marker=settings.marker)
        given = final_number(case.answer, marker=settings.marker)
        if wanted is None or given is None:
            return 0.0
        return float(
            same_number(
                given,
                wanted,
                tolerance=settings.tolerance,
                relative_tolerance=settings.relative_tolerance,
            )
        )

    def fault(case: Case) -> str | None:
        if case.reference is None:
            return missing_reference(case)
        if final_number(case.reference, marker=settings.marker) is None:
            after = f" after `{settings.marker}`" if settings.marker else ""
            return f"the reference holds no number{after}"
        return None

    return Check(name=settings.name or settings.kind, rule=score, fault=fault)
