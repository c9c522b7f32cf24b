"""What the arms' answers come to: scores, verdict, costs and the document. No model is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tunesmith.config import RunConfig
from tunesmith.config.evaluate import PriceSettings
from tunesmith.evaluation.answering import CachedAnswer
from tunesmith.evaluation.answers import Answers, Question, score
from tunesmith.evaluation.arms import Arm, BaseArms
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.comparison import TUNED, Summary
from tunesmith.evaluation.costs import Request, Timed, arm_costs, break_even, request_of
from tunesmith.evaluation.degeneration import Degeneration, assess_degeneration
from tunesmith.evaluation.document import document
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.hosted import HostedAnswers, HostedComparison
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
    ``hosted`` models were asked the same.
    """

    questions: Sequence[Question]
    base: BaseArms
    arms: Mapping[str, Arm]
    answered: Mapping[str, Sequence[CachedAnswer]]
    texts: dict[str, tuple[str, ...]]
    timed: Mapping[str, Timed]
    hosted: Mapping[str, HostedAnswers] = field(default_factory=dict)

    @property
    def all_texts(self) -> dict[str, tuple[str, ...]]:
        """Of every arm, the hosted ones too."""
        return {**self.texts, **{name: each.texts for name, each in self.hosted.items()}}

    def request(self, name: str) -> Request:
        """A mean request of an arm."""
        return request_of(self.arms[name], self.answered[name], self.timed.get(name))

    def degeneration(self) -> Degeneration:
        """Whether answers repeat themselves or the question, beside the data's own answers."""
        cut = {name: [each.ended == "length" for each in self.answered[name]] for name in self.arms}
        whole = {name: each for name, each in self.hosted.items() if not each.unanswered}
        return assess_degeneration(
            {**self.texts, **{name: each.texts for name, each in whole.items()}},
            [question.reference for question in self.questions],
            [question.text for question in self.questions],
            cut={**cut, **{name: each.cut for name, each in whole.items()}},
        )

    def beside(self, summary: Summary, prices: PriceSettings) -> tuple[HostedComparison, ...]:
        """How far the tuned arm is from each hosted model by the check that decides."""
        if TUNED not in self.arms:
            return ()
        own = self.request(TUNED).cost(prices)
        return tuple(each.compared(summary.checks[0], own) for each in self.hosted.values())


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
    facts |= {name: each.facts() for name, each in asked.hosted.items()}
    answers = score(
        asked.questions,
        asked.all_texts,
        checks,
        seed=config.train.seed,
        facts=facts,
        unanswered={name: each.unanswered for name, each in asked.hosted.items()},
    )
    degeneration = asked.degeneration()
    answers = replace(answers, degenerate=degeneration.rows)
    verdict = decide(
        answers.summary,
        forgetting=forgetting,
        prompt_tokens={name: asked.request(name).prompt_tokens for name in asked.arms},
        is_retained=config.train.retention is not None,
    )
    verdict = replace(verdict, beside=asked.beside(answers.summary, prices))
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
