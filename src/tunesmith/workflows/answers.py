"""Held-out prompts answered by the base and by the tuned model, and scored side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from tunesmith.config import EvaluateSettings
from tunesmith.data.chat_format import study
from tunesmith.data.rows import Conversation, Message, Tool
from tunesmith.data.template import Rendering, render, render_prompt
from tunesmith.data.thinking import split_thinking
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import DataError
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.scoring import Scored, score_cases
from tunesmith.evaluate.interval import Interval
from tunesmith.evaluate.summary import Summary, summarise
from tunesmith.generate.decoder import Prompt
from tunesmith.generate.loop import generate
from tunesmith.generate.sampling import Sampling
from tunesmith.workflows.opening import Opened


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out prompt, with the tools that it offers, and the answer that the data gives."""

    messages: tuple[Message, ...]
    reference: str
    tools: tuple[Tool, ...] = ()

    @property
    def text(self) -> str:
        """What is asked last."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Answers:
    """What each arm answered to each question, and how each check scored it."""

    questions: tuple[Question, ...]
    texts: dict[str, tuple[str, ...]]  # arm -> answers
    summary: Summary
    scored: Mapping[str, Mapping[str, Scored]]  # check -> arm

    def rows(self) -> Iterator[dict[str, object]]:
        """One object a question: it, each arm's answer, the data's."""
        for i, question in enumerate(self.questions):
            arms = {arm: texts[i] for arm, texts in self.texts.items()}
            yield {"question": question.text, "answers": arms, "reference": question.reference}

    def to_json(self) -> dict[str, object]:
        """The evaluate document's arms, with intervals of the differences."""
        arms = {
            arm: {
                "checks": {
                    check.name: {
                        **_interval(check.arms.get(arm)),
                        **_remarks(self.scored[check.name][arm]),
                    }
                    for check in self.summary.checks
                }
            }
            for arm in self.texts
        }
        differences = {
            check.name: {arm: asdict(d) for arm, d in check.differences.items()}
            for check in self.summary.checks
        }
        return {"arms": arms, "differences": differences, "rows": len(self.questions)}


def _interval(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:  # no row has a score
        return {"score": None, "low": None, "high": None, "n": 0}
    return {
        "score": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
    }


def _remarks(scored: Scored) -> dict[str, object]:
    """What a check says beside its score, where there is something to say."""
    said: dict[str, object] = {
        "errors": dict(scored.errors),
        "note": scored.note,
        "empty": scored.empty,
        "figures": dict(scored.figures),
    }
    return {key: value for key, value in said.items() if value}


def questions_of(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, *, most: int
) -> tuple[Question, ...]:
    """The last trained turn of each held-out row as a question, at most ``most`` of them.

    Raises DataError for texts, which have none.
    """
    if any(conversation.is_text for conversation in conversations):
        what = "The rows are texts without questions, so checks have no answers to score."
        remedy = "Leave evaluate.checks out: the held-out loss says what was learned."
        raise DataError(what, remedy=remedy, code="no_questions")
    questions = []
    for conversation in _spread(conversations, most):
        turn = conversation.supervised[-1]
        reference = _reference(conversation, turn, tokenizer)
        before = tuple(conversation.messages[:turn])
        questions.append(Question(before, reference, conversation.tools))
    return tuple(questions)


def _reference(conversation: Conversation, turn: int, tokenizer: Tokenizer) -> str:
    """What is said in a turn; a call is said in the words of the model's chat template."""
    answer = conversation.messages[turn]
    if not answer.tool_calls:
        return split_thinking(answer.content)[1]
    until = replace(conversation, messages=conversation.messages[: turn + 1], completion_from=turn)
    row = render(tokenizer, until, Rendering(document="answer", control_tokens="text"))
    return _said(tokenizer, row.ids[row.weights > 0].tolist())


def _said(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """What an answer says, without what was thought before."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return split_thinking(text)[1]


def _spread(rows: Sequence[Conversation], most: int) -> Iterator[Conversation]:
    """Evenly spread rows, so that a sorted file still gives all its kinds."""
    if len(rows) <= most:
        yield from rows
        return
    for i in range(most):
        yield rows[i * len(rows) // most]


def answer(
    opened: Opened,
    questions: Sequence[Question],
    *,
    adapter: str | None,
    settings: EvaluateSettings,
    go_on: Callable[[int], bool],
) -> tuple[str, ...] | None:
    """Greedy answers of one arm, in the order of the questions.

    ``go_on`` is told how many are done; None where it says no before the last one.
    """
    base, engine, tokenizer = opened.base, opened.engine, opened.tokenizer(adapter)
    chat_format = study(tokenizer)
    prompts = [
        Prompt(
            tuple(render_prompt(tokenizer, q.messages, q.tools, chat_format=chat_format)), adapter
        )
        for q in questions
    ]
    sampling = Sampling(max_new_tokens=settings.max_new_tokens)
    texts = [""] * len(prompts)
    made = generate(engine, prompts, stop_ids=base.stop_ids, sampling=sampling)
    for count, one in enumerate(made, start=1):
        texts[one.row] = _said(tokenizer, one.ids)
        if not go_on(count) and count < len(prompts):
            return None
    return tuple(texts)


def score(
    questions: Sequence[Question],
    texts: dict[str, tuple[str, ...]],
    checks: Sequence[Check],
    *,
    seed: int,
) -> Answers:
    """Every arm's answers under every check, with intervals."""
    scored = {
        check.name: {
            arm: score_cases(
                check,
                [
                    Case(text, question.reference, question.text)
                    for text, question in zip(arm_texts, questions, strict=True)
                ],
            )
            for arm, arm_texts in texts.items()
        }
        for check in checks
    }
    rows = {name: {arm: s.scores for arm, s in arms.items()} for name, arms in scored.items()}
    return Answers(tuple(questions), texts, summarise(rows, seed=seed), scored)
