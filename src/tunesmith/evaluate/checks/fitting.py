"""How do checks that learn get to know the data's own answers and the base's?"""

from collections.abc import Sequence

from tunesmith.evaluate.checks.protocol import CannotScore, Case, Check


def fit_checks(
    checks: Sequence[Check], *, own: Sequence[str], base: Sequence[str]
) -> tuple[Check, ...]:
    """The checks in order, those that learn fitted; the others as they are.

    ``own`` are answers of the training rows, ``base`` what the untuned base answers, be it to the
    very rows that are scored. A check whose fit fails gives no answer a score, and says why.
    """
    return tuple(check if check.fit is None else _fit(check, own, base) for check in checks)


def _fit(check: Check, own: Sequence[str], base: Sequence[str]) -> Check:
    assert check.fit is not None
    try:
        return check.fit(own, base)
    except Exception as error:  # of any kind: the other checks go on
        why = f"it could not be fitted: {type(error).__name__}: {error}"

    def rule(case: Case) -> float:  # noqa: ARG001 (no case has a score)
        raise CannotScore(why)

    return Check(name=check.name, rule=rule, takes_references=False)
