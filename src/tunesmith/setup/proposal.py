"""A check that the answers of a file suggest, and how many of these answers pass it themselves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from tunesmith.config.checks import CheckSettings
from tunesmith.core.numbers import pluralize
from tunesmith.data.rows import Conversation
from tunesmith.evaluation.checks.check import Case, score_cases
from tunesmith.evaluation.checks.table import build_checks

MAX_SCORED = 2000  # answers, evenly spread
SETTINGS: TypeAdapter[CheckSettings] = TypeAdapter(CheckSettings)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A check as the config writes it, and what in the answers suggests it.

    ``score`` is the mean over ``scored`` of the data's own answers, None before they were scored;
    of a check that an answer passes or fails it is the share that passes.
    """

    check: Mapping[str, object]
    reason: str
    score: float | None = None
    scored: int = 0
    is_graded: bool = False

    @property
    def remark(self) -> str:
        """The reason, and how the data's own answers do."""
        if self.score is None:
            return self.reason
        some = pluralize(self.scored, "answer")
        percent = math.floor(100 * self.score)  # 99.9 % are not all
        if self.is_graded:
            return f"{self.reason}; the data's own answers score {percent} % ({some})"
        return f"{self.reason}; {percent} % of {some} pass"


def scored(proposal: Proposal, rows: Sequence[Conversation]) -> Proposal:
    """The proposal with the score of the rows' own answers, each its own reference."""
    some = rows[:: -(-len(rows) // MAX_SCORED)]
    (check,) = build_checks([SETTINGS.validate_python(dict(proposal.check))])
    found = score_cases(check, [_case(row) for row in some]).scores
    values = [score for score in found if score is not None]
    if not values:
        return proposal
    return replace(
        proposal,
        score=math.fsum(values) / len(values),
        scored=len(values),
        is_graded=any(value not in (0.0, 1.0) for value in values),
    )


def passes(check: CheckSettings, answers: Sequence[str], *, share: float) -> bool:
    """Whether such a share of the answers pass the check when they are their own reference."""
    (built,) = build_checks([check])
    scores = score_cases(built, [Case(text, text) for text in answers]).scores
    return sum(score == 1.0 for score in scores) >= share * len(scores)


def _case(row: Conversation) -> Case:
    last = row.supervised[-1]
    answer = row.messages[last].content.strip()
    return Case(answer, answer, row.messages[max(0, last - 1)].content)
