"""Evaluations and findings for tests of the verdict."""

from tunesmith.evaluation.comparison import summarize
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.forgetting import ProbeFinding as Finding
from tunesmith.evaluation.intervals import Interval


def arm(passed, of=100, first=0):
    """0/1 scores: those from ``first`` on pass; None: no row has a score."""
    if passed is None:
        return [None] * of
    return [1.0 if first <= i < first + passed else 0.0 for i in range(of)]


def summary(*, of=100, others=None, **arms):
    """One check `label`, or more: ``others`` are name -> arm -> passed."""
    checks = {"label": arms, **(others or {})}
    scores = {
        name: {each: arm(passed, of) for each, passed in table.items()}
        for name, table in checks.items()
    }
    return summarize(scores, seed=0)


def finding(outcome="kept", *, probe="piqa", measure="accuracy", change=(0.0, -0.01, 0.01), **more):
    """A probe of 300 rows; ``change`` is mean, low and high of the difference."""
    values = {"base": 0.6, "tuned": 0.6 + change[0], "margin": 0.05, "rows_needed": None}
    if measure == "perplexity":
        values |= {"base": 20.0, "tuned": 20.0 * (1 + change[0]), "margin": 0.1}
    return Finding(
        probe=probe,
        measure=measure,
        difference=Interval(*change, n=300),
        outcome=outcome,
        details={},
        **{**values, **more},
    )


def forgetting(*findings):
    return Forgetting(findings or (finding(),), 0.95)
