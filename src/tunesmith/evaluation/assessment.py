"""What the arms' answers come to: scores, verdict, costs and the document. No model is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from tunesmith.config import RunConfig
from tunesmith.evaluation.answering import CachedAnswer
from tunesmith.evaluation.answers import Answers, Question, score
from tunesmith.evaluation.arms import Arm, BaseArms
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.costs import Request, Timed, arm_costs, break_even, request_of
from tunesmith.evaluation.degeneration import Degeneration, assess_degeneration
from tunesmith.evaluation.document import document
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.verdict import Verdict, decide


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found: answers with their scores, the verdict, and the document with all of it.

    ``train_losses`` are those of the sampled training rows, where they were measured.
    """

    answers: Answers
    verdict: Verdict
    document: dict[str, object]
    train_losses: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class AskedArms:
    """The questions, each arm's prompts and answers to them, and its seconds where it was timed.

    ``texts`` are the answers without what was thought before; ``base`` are the arms of the base.
    """

    questions: Sequence[Question]
    base: BaseArms
    arms: Mapping[str, Arm]
    answered: Mapping[str, Sequence[CachedAnswer]]
    texts: dict[str, tuple[str, ...]]
    timed: Mapping[str, Timed]

    def request(self, name: str) -> Request:
        """A mean request of an arm."""
        return request_of(self.arms[name], self.answered[name], self.timed.get(name))

    def degeneration(self) -> Degeneration:
        """Whether answers repeat themselves or the question, beside the data's own answers."""
        return assess_degeneration(
            self.texts,
            [question.reference for question in self.questions],
            [question.text for question in self.questions],
            cut={
                name: [each.ended == "length" for each in self.answered[name]] for name in self.arms
            },
        )


def assess(
    asked: AskedArms,
    checks: Sequence[Check],
    config: RunConfig,
    *,
    forgetting: Forgetting | None = None,
    training_seconds: float | None = None,
    parts: Mapping[str, object] = MappingProxyType({}),
) -> Evaluation:
    """The evaluation of what was asked.

    ``parts`` are further measures of the document. ``training_seconds`` are None where unknown.
    """
    prices = config.evaluate.prices
    facts = {
        name: arm_costs(arm, asked.answered[name], asked.timed.get(name), prices)
        for name, arm in asked.arms.items()
    }
    answers = score(asked.questions, asked.texts, checks, seed=config.train.seed, facts=facts)
    degeneration = asked.degeneration()
    answers = replace(answers, degenerate=degeneration.rows)
    verdict = decide(
        answers.summary,
        forgetting=forgetting,
        prompt_tokens={name: asked.request(name).prompt_tokens for name in asked.arms},
        is_retained=config.train.retention is not None,
    )
    cost = (
        None
        if verdict.gain is None
        else break_even(
            asked.request(TUNED),
            asked.request(verdict.gain.against),
            against=verdict.gain.against,
            prices=prices,
            training_seconds=training_seconds,
        )
    )
    parts = {"degeneration": degeneration.to_json(), **parts}
    made = document(answers, verdict, asked.base, config=config, cost=cost, parts=parts)
    return Evaluation(answers, verdict, made)
