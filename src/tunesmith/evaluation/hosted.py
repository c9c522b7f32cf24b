"""Hosted models as further arms: what they are asked, what they answered, how far tuned is off."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.config import EvaluateSettings
from tunesmith.config.endpoint import HostedSettings, TokenPrices
from tunesmith.config.evaluate import PriceSettings
from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.core.numbers import money, pluralize, points
from tunesmith.core.phrases import Phrases
from tunesmith.core.progress import Progress
from tunesmith.data.chat_format import instructed
from tunesmith.data.chat_text import TEMPLATE_ERRORS, split_thinking
from tunesmith.data.rows import Conversation, Message, ToolCall
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.evaluation.answers import Question, Unanswered, rendered
from tunesmith.evaluation.comparison import CheckSummary
from tunesmith.evaluation.costs import Request
from tunesmith.evaluation.endpoint import (
    Endpoint,
    EndpointAddress,
    EndpointReply,
    EndpointRequest,
    NoReply,
    as_messages,
    open_endpoint,
)
from tunesmith.evaluation.findings import Described, digits_needed, points_text, share_text
from tunesmith.evaluation.intervals import LEVEL, Interval

REPLIES = "hosted"  # the folder of the cache


@dataclass(frozen=True, slots=True)
class HostedAnswers:
    """What a hosted ``arm`` answered to each question, and what a mean request takes.

    Texts of questions that are ``unanswered`` are empty; ``cut`` are answers that ended at their
    longest.
    """

    arm: "HostedArm"
    texts: tuple[str, ...]
    unanswered: Unanswered
    cut: tuple[bool, ...]
    request: Request | None

    @property
    def cost(self) -> float | None:
        """Of a million such requests, at its own prices."""
        return self.request.cost(self.arm.prices) if self.request else None

    def compared(self, check: CheckSummary, tuned_cost: float | None) -> "HostedComparison":
        """How far the tuned arm is from it by a check."""
        difference = check.differences.get(self.arm.name)
        missing = len(self.unanswered)
        return HostedComparison(
            self.arm.name, self.arm.settings, check.name, difference, missing, self.cost, tuned_cost
        )

    def facts(self) -> dict[str, object]:
        """Its part of the evaluate document's arms, without the checks."""
        request, arm = self.request, self.arm
        return {
            "model": arm.settings.model,
            "endpoint": arm.settings.endpoint,
            "prompt_tokens": request.prompt_tokens if request else None,
            "virtual_tokens": 0,
            "completion_tokens": request.completion_tokens if request else None,
            "cut": sum(self.cut),
            "unanswered": len(self.unanswered),
            "seconds_to_first_token": None,
            "seconds_per_answer": None,
            "cost_per_million_requests": self.cost,
        }


@dataclass(frozen=True, slots=True)
class HostedArm:
    """A hosted model, and what it is asked in the order of the questions."""

    name: str
    settings: HostedSettings
    prices: TokenPrices | PriceSettings
    endpoint: Endpoint
    questions: tuple[Question, ...]
    requests: tuple[EndpointRequest, ...]

    def ask(self, progress: Progress) -> None:
        """Ask what has no answer yet; what cannot be answered is noticed."""
        count = pluralize(len(self.requests), "question")
        phase = progress.phase(f"asking {self.settings.model} {count} ({self.name})")
        self.endpoint.ask_all(self.requests, phase=phase)
        failed = [reply for reply in map(self._reply, self.requests) if isinstance(reply, NoReply)]
        if failed:
            why = f"{len(failed):,} of {count} not answered: {failed[0]}"
            progress.notice("hosted", f"arm {self.name}: {why}; the same command asks them again")

    def _reply(self, request: EndpointRequest) -> EndpointReply | NoReply:
        try:
            return self.endpoint.ask(request)
        except NoReply as error:
            return error

    def answers(self, tokenizer: Tokenizer) -> HostedAnswers:
        """What it answered; a call of a tool is written as the base's chat template does."""
        found = [self._reply(request) for request in self.requests]
        said = {i: each for i, each in enumerate(found) if isinstance(each, EndpointReply)}
        return HostedAnswers(
            self,
            texts=tuple(
                _text_of(said[i], question, tokenizer) if i in said else ""
                for i, question in enumerate(self.questions)
            ),
            unanswered={i: str(each) for i, each in enumerate(found) if isinstance(each, NoReply)},
            cut=tuple(i in said and said[i].ended == "length" for i in range(len(found))),
            request=_mean_request(list(said.values())),
        )


def _mean_request(replies: Sequence[EndpointReply]) -> Request | None:
    """By the tokens that the endpoint counted; None where it counts none."""
    prompt = sum(reply.prompt_tokens for reply in replies)
    completion = sum(reply.completion_tokens for reply in replies)
    if not replies or not prompt:
        return None
    return Request(prompt / len(replies), completion / len(replies))


def _text_of(reply: EndpointReply, question: Question, tokenizer: Tokenizer) -> str:
    said = split_thinking(reply.text)[1].strip()
    if not reply.calls:
        return said
    try:
        calls = tuple(ToolCall(name, json.loads(given or "{}")) for name, given in reply.calls)
        answer = Message("assistant", said, tool_calls=calls)
        until = len(question.messages)
        asked = Conversation((*question.messages, answer), "", 0, until, question.tools)
        return rendered(asked, tokenizer)
    except (TunesmithError, *TEMPLATE_ERRORS):  # arguments that are no JSON, or a plain template
        written = [json.dumps({"name": n, "arguments": given or {}}) for n, given in reply.calls]
        return "\n".join(filter(None, (said, *written)))


def open_arms(
    settings: EvaluateSettings, questions: Sequence[Question] = (), instruction: str | None = None
) -> tuple[HostedArm, ...]:
    """The hosted arms over these questions; nothing is sent yet.

    ``instruction`` is the text of `evaluate.baseline_prompt`. Raises ConfigError where the library
    or the key of one is missing.
    """
    arms, faults = [], []
    for name in settings.arms:
        try:
            arms.append(_open_arm(name, settings, questions, instruction))
        except ConfigError as error:
            faults.append(f"evaluate.arms.{name}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(arms)


def _open_arm(
    name: str, settings: EvaluateSettings, questions: Sequence[Question], instruction: str | None
) -> HostedArm:
    own = settings.arms[name]
    server = EndpointAddress(
        f"The arm `{name}`",
        own.model,
        own.endpoint,
        own.key,
        own.timeout_seconds,
        own.tries,
        own.parallel,
    )

    def request(question: Question) -> EndpointRequest:
        messages = question.messages
        if own.instructed and instruction is not None:
            messages = instructed(messages, instruction, as_system=True)
        longest = own.max_tokens or settings.longest_answer
        return EndpointRequest(as_messages(messages), longest, question.tools)

    return HostedArm(
        name,
        own,
        own.prices or settings.prices,
        open_endpoint(server, REPLIES),
        tuple(questions),
        tuple(map(request, questions)),
    )


@dataclass(frozen=True, slots=True)
class HostedComparison(Described):
    """Tuned minus a hosted model by the first check, and what a million requests cost.

    ``difference`` is None where no row has a score of both; a cost is None where it is not known.
    """

    name: str
    settings: HostedSettings
    check: str
    difference: Interval | None
    unanswered: int
    cost: float | None
    tuned_cost: float | None

    def values(self) -> Mapping[str, object]:
        """Its part of the evaluate document, without the text."""
        return {
            "model": self.settings.model,
            "endpoint": self.settings.endpoint,
            "check": self.check,
            "difference": self.difference.to_json() if self.difference else None,
            "unanswered": self.unanswered,
            "cost_per_million_requests": self.cost,
            "tuned_cost_per_million_requests": self.tuned_cost,
        }

    def describe(self, words: Phrases) -> str:
        """How far the tuned model is from it, and the cost of both."""
        return " ".join(self._sentences(words))

    def _sentences(self, words: Phrases) -> Iterator[str]:
        model, found = self.settings.model, self.difference
        if found is None:
            yield words.phrase("hosted.nothing", model=model, check=self.check)
        else:
            digits = digits_needed([found.mean, found.low, found.high])
            yield words.phrase(
                "hosted.difference",
                found.n,
                model=model,
                points=points_text(found.mean, words, digits),
                low=points(found.low, digits),
                high=points(found.high, digits),
                level=share_text(LEVEL, words),
            )
        if self.unanswered:
            yield words.phrase("hosted.unanswered", self.unanswered)
        if self.cost is not None and self.tuned_cost is not None:
            costs = {"cost": money(self.cost), "own": money(self.tuned_cost)}
            yield words.phrase("hosted.costs", **costs)
        elif self.cost is not None:
            yield words.phrase("hosted.cost", cost=money(self.cost))
