"""Are training rows answered as the first check asks, by an adapter that is in training?

It may have memorized them, so that only a rule about the answer alone shows what other rows will
get. The held-out rows, by which the verdict is given, choose nothing here.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.dataset import Dataset, RunRows
from tunesmith.evaluation.answering import Respondent, answers_now
from tunesmith.evaluation.answers import LONG_TIMES, Question, questions_of
from tunesmith.evaluation.arms import Arm, arm_of, kept
from tunesmith.evaluation.checks.check import Case, Check, fit_checks, score_cases
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.duration import speed_of, to_answer

MORE_TOKENS = 8  # than the longest answer of the data has: one that is longer is no answer


@dataclass(frozen=True, slots=True)
class TrainingAnswers:
    """Training rows whose own answers pass the check, as the adapter is asked them.

    An answer has at most ``limit`` tokens.
    """

    loaded: LoadedBase
    adapter: str | None
    check: Check
    questions: Sequence[Question]
    arm: Arm
    limit: int

    def passed(self, phase: PhaseProgress = UNSEEN) -> float:
        """Mean score from 0 to 1 as the adapter is now; raises Cancelled by way of ``phase``."""
        who = Respondent(self.adapter)
        texts = answers_now(self.loaded, self.arm, who, limit=self.limit, phase=phase)
        found = score_cases(self.check, _cases(self.questions, texts)).scores
        return statistics.mean(score or 0.0 for score in found)

    def seconds(self) -> float:
        """How long answering takes at the speed that this machine has now."""
        prompts, engine = self.arm.prompts, self.loaded.engine
        speed = speed_of(engine, prompts, adapter=self.adapter)
        length = self.limit / LONG_TIMES
        return to_answer(prompts, length, longest=self.limit).seconds(engine, speed)


def require_answerable(config: RunConfig) -> None:
    """Raise ConfigError where training rows are to be answered and no check can score them."""
    if config.train.answered_rows and not config.evaluate.scores_in_training:
        raise ConfigError(
            "train.answer_rows: no check can score answers while the run trains.",
            remedy="Put another check first in evaluate.checks (`style` and `judge` cannot), or "
            "leave train.answer_rows at auto.",
        )


def training_answers(
    loaded: LoadedBase, config: RunConfig, rows: RunRows, *, adapter: str | None
) -> TrainingAnswers | None:
    """At most `train.answer_rows` rows, evenly spread; None where none is asked for, or none has
    room for an answer and one of its own that passes.
    """
    wanted, checks = config.train.answered_rows, config.evaluate.checks[:1]
    chats = [row for row in rows.sample if row.supervised and not row.is_text]
    if not wanted or not checks or rows.choosing is None:
        return None
    (check,) = fit_checks(build_checks(checks), own=rows.own_answers, base=())
    asked = questions_of(chats, loaded.tokenizer(adapter), limit=wanted) if chats else ()
    arm = arm_of(loaded, TUNED, asked, adapter=adapter)
    own = score_cases(check, _cases(asked, [each.reference for each in asked])).scores
    places = [i for i, prompt in enumerate(arm.prompts) if own[i] == 1 and prompt.limit]
    if not places:
        return None
    questions = [asked[i] for i in places]
    longest = _longest_answer(rows.train, questions)
    limit = max(longest + MORE_TOKENS, math.ceil(LONG_TIMES * longest))
    return TrainingAnswers(loaded, adapter, check, questions, kept(arm, places), limit)


def _longest_answer(rows: Dataset, questions: Sequence[Question]) -> int:
    """Trained tokens of the rows that are asked: with what is thought before, which is said too."""
    places = {(each.file, each.line) for each in questions}
    lines = zip(rows.file_of.tolist(), rows.lines.tolist(), rows.supervised.tolist(), strict=True)
    return int(max(tokens for file, line, tokens in lines if (rows.files[file], line) in places))


def _cases(questions: Sequence[Question], texts: Sequence[str]) -> list[Case]:
    return [
        Case(text, each.reference, each.text) for each, text in zip(questions, texts, strict=True)
    ]
