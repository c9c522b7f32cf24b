"""Do the data's own answers pass, and can a check score now? Told before training: not too late."""

from collections.abc import Iterator, Sequence

from tunesmith.counts import many
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.scoring import score_cases

FEW = 0.5
"""Below this mean score of the data's own answers a model that learns them would fail as well."""


def early_notes(
    checks: Sequence[Check],
    references: Sequence[str | None],
    questions: Sequence[str | None],
) -> Iterator[str]:
    """A line for each check that the data's own answers do not pass, or that cannot score now."""
    own = [
        Case(reference, reference, question)
        for reference, question in zip(references, questions, strict=True)
        if reference is not None
    ]
    for check in checks:
        if why := check.obstacle():
            yield f"check `{check.name}`: {why}; without it these scores will be missing"
        if not check.takes_references or not own:
            continue
        scored = score_cases(check, own)
        scores = [score for score in scored.scores if score is not None]
        if scored.note:
            yield f"check `{check.name}`: the data's own answers: {scored.note}"
        if not scores:
            continue
        mean, rows = sum(scores) / len(scores), many(len(scores), "own answer")
        if not any(scores):
            yield (
                f"check `{check.name}`: none of the data's {rows} passes, "
                "so no model that learns them can; look at the check or at the data"
            )
        elif mean < FEW:
            yield (
                f"check `{check.name}`: the data's {rows} score {100 * mean:.0f} %, "
                "which is about the most that training on such answers can reach"
            )
