"""Held-out questions, what each arm answered to them, and how each check scored that."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from tunesmith.config import RunConfig
from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_text import split_thinking
from tunesmith.data.dataset import Dataset
from tunesmith.data.rows import Conversation, Message, Tool
from tunesmith.data.template import Rendering, render
from tunesmith.data.thinking import text_of
from tunesmith.data.tokenizer import Tokenizer, encode
from tunesmith.evaluation.checks.check import Case, Check, Scored, score_cases
from tunesmith.evaluation.comparison import Summary, summarize

Unanswered = Mapping[int, str]  # places of questions without an answer, and why
# Tokens of an answer: at least; as a multiple of the data's longest; where that is long, so much
# more than it.
MIN_TOKENS, TIMES, LONG_TIMES = 64, 4, 1.25
USUAL_TOKENS = 256
NO_SCORE = {"score": None, "low": None, "high": None, "n": 0}  # of a check in an arm


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out prompt, with the tools that it offers, and the answer that the data gives.

    ``file`` and ``line`` say where it comes from.
    """

    messages: tuple[Message, ...]
    reference: str
    tools: tuple[Tool, ...] = ()
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        """What is asked last."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Answers:
    """What each arm answered to each question, how each check scored it, and what it took.

    ``facts`` of an arm are listed with its checks in the evaluate document; ``degenerate`` has the
    kinds of degeneration of each of its answers.
    """

    questions: tuple[Question, ...]
    texts: dict[str, tuple[str, ...]]  # arm -> answers
    summary: Summary
    scored: Mapping[str, Mapping[str, Scored]]  # check -> arm
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # arm
    degenerate: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)  # arm -> rows

    def rows(self) -> Iterator[dict[str, object]]:
        """One object a question: its text, each arm's answer with its scores, the data's answer.

        ``failed`` names the checks that an answer fails with a score of 0, ``degenerate`` the arms
        whose answer degenerated, and in which ways; it is left out where none did.
        """
        for i, question in enumerate(self.questions):
            scores = {
                arm: {name: arms[arm].scores[i] for name, arms in self.scored.items()}
                for arm in self.texts
            }
            kinds = {arm: list(rows[i]) for arm, rows in self.degenerate.items() if rows[i]}
            yield {
                "question": question.text,
                "answers": {arm: texts[i] for arm, texts in self.texts.items()},
                "reference": question.reference,
                "scores": scores,
                "failed": {
                    arm: [name for name, score in each.items() if score == 0]
                    for arm, each in scores.items()
                },
                **({"degenerate": kinds} if kinds else {}),
                "file": question.file,
                "line": question.line,
            }

    def notes(self) -> Iterator[tuple[str, str]]:
        """Check, and arm with the reason why not all of its rows have a score."""
        for name, arms in self.scored.items():
            yield from ((name, f"{arm}: {each.note}") for arm, each in arms.items() if each.note)

    def to_json(self) -> dict[str, object]:
        """The evaluate document's arms, with intervals of the differences."""
        arms = {
            arm: {
                **self.facts.get(arm, {}),
                "checks": {
                    check.name: {
                        **(check.arms[arm].to_json("score") if arm in check.arms else NO_SCORE),
                        **_remarks(self.scored[check.name][arm]),
                    }
                    for check in self.summary.checks
                },
            }
            for arm in self.texts
        }
        differences = {
            check.name: {arm: each.to_json() for arm, each in check.differences.items()}
            for check in self.summary.checks
        }
        return {"arms": arms, "differences": differences, "rows": len(self.questions)}


def _remarks(scored: Scored) -> dict[str, object]:
    """What a check reports besides its score; only what is not empty."""
    remarks = {key: getattr(scored, key) for key in ("errors", "note", "empty", "figures")}
    return {key: value for key, value in remarks.items() if value}


def questions_of(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, *, limit: int
) -> tuple[Question, ...]:
    """The last trained turn of each held-out row as a question, at most ``limit`` of them.

    Raises DataError for texts, which have none.
    """
    if any(conversation.is_text for conversation in conversations):
        what = "The rows are texts without questions, so checks have no answers to score."
        remedy = "Remove evaluate.checks: the held-out loss shows what was learned."
        raise DataError(what, remedy=remedy, code="no_questions")
    questions = []
    for conversation in spread(conversations, limit):
        turn = conversation.supervised[-1]
        reference = _reference(conversation, turn, tokenizer)
        before = tuple(conversation.messages[:turn])
        place = conversation.file, conversation.line
        questions.append(Question(before, reference, conversation.tools, *place))
    return tuple(questions)


def warn_long_references(tokenizer: Tokenizer, references: Sequence[str], limit: int) -> str | None:
    """How many of the data's own answers are longer than ``limit`` tokens; None where none is."""
    lengths = [1 + len(ids) for ids in encode(tokenizer, references)]
    if not (over := sum(length > limit for length in lengths)):
        return None
    few = f"{pluralize(over, 'held-out answer')} of {len(lengths):,} longer than"
    longest = f"{pluralize(limit, 'token')} (the longest {max(lengths):,})"
    return f"{few} {longest}: such answers are cut; raise evaluate.max_new_tokens"


def _reference(conversation: Conversation, turn: int, tokenizer: Tokenizer) -> str:
    """The text of a turn; a call is rendered by the model's chat template."""
    answer = conversation.messages[turn]
    if not answer.tool_calls:
        return split_thinking(answer.content)[1]
    until = replace(conversation, messages=conversation.messages[: turn + 1], completion_from=turn)
    return rendered(until, tokenizer)


def rendered(conversation: Conversation, tokenizer: Tokenizer) -> str:
    """The last answer of a conversation as the model's chat template writes it, with its calls."""
    row = render(tokenizer, conversation, Rendering(document="answer", control_tokens="text"))
    return text_of(tokenizer, row.ids[row.weights > 0].tolist())


T = TypeVar("T")


def spread(items: Sequence[T], limit: int) -> Iterator[T]:
    """At most so many, evenly spread, so that a sorted file still gives all its kinds."""
    count = min(len(items), limit)
    return (items[i * len(items) // count] for i in range(count))


def score(
    questions: Sequence[Question],
    texts: dict[str, tuple[str, ...]],
    checks: Sequence[Check],
    *,
    seed: int,
    facts: Mapping[str, Mapping[str, object]] | None = None,
    unanswered: Mapping[str, Unanswered] = MappingProxyType({}),
) -> Answers:
    """Every arm's answers under every check, with intervals.

    ``unanswered`` has the hosted arms: they are compared with, and take no part in the gain. What
    they did not answer has no score.
    """
    cases = {
        arm: [
            Case(text, question.reference, question.text)
            for text, question in zip(arm_texts, questions, strict=True)
        ]
        for arm, arm_texts in texts.items()
    }
    scored = {
        check.name: {
            arm: _scored(check, own, unanswered.get(arm, {})) for arm, own in cases.items()
        }
        for check in checks
    }
    rows = {name: {arm: s.scores for arm, s in arms.items()} for name, arms in scored.items()}
    summary = summarize(rows, seed=seed, beside=tuple(unanswered))
    return Answers(tuple(questions), texts, summary, scored, facts or {})


def _scored(check: Check, cases: Sequence[Case], unanswered: Unanswered) -> Scored:
    """The cases under a check; those without an answer have the reason in place of a score."""
    if not unanswered:
        return score_cases(check, cases)
    places = [place for place in range(len(cases)) if place not in unanswered]
    found = score_cases(check, [cases[place] for place in places])
    scores = dict(zip(places, found.scores, strict=True))
    errors = {places[row - 1] + 1: why for row, why in found.errors.items()}
    errors |= {place + 1: why for place, why in unanswered.items()}
    return replace(
        found,
        scores=tuple(scores.get(place) for place in range(len(cases))),
        errors=dict(sorted(errors.items())),
    )


def with_answer_length(config: RunConfig, rows: Dataset | None) -> RunConfig:
    """The config with a number where `evaluate.max_new_tokens` is `auto`, by the rows' answers.

    The base, which talks more than the data, has room for four times the longest answer and
    does not fail for want of it; up to `USUAL_TOKENS`, which it is without rows, and more where
    the data need it.
    """
    if config.evaluate.max_new_tokens != "auto":
        return config
    tokens = USUAL_TOKENS
    if rows is not None:
        longest = int(rows.supervised.max(initial=0))
        tokens = max(MIN_TOKENS, min(TIMES * longest, tokens), math.ceil(LONG_TIMES * longest))
    evaluate = config.evaluate.model_copy(update={"max_new_tokens": tokens})
    return config.model_copy(update={"evaluate": evaluate})
