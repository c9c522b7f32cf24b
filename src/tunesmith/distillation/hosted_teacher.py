"""A stronger model behind an endpoint answers inputs; each answer is kept when it comes."""

from collections.abc import Iterator, Sequence
from functools import partial

from tunesmith.config.distill import DistillSettings
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.chat_format import instructed, study
from tunesmith.data.chat_text import split_thinking
from tunesmith.data.inputs import Input
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.distillation.teacher import CheckedAnswer, fault_of
from tunesmith.evaluation.checks.check import Case
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.endpoint import (
    EndpointAddress,
    EndpointRequest,
    NoReply,
    as_messages,
    open_endpoint,
)
from tunesmith.evaluation.hosted import REPLIES

TIMEOUT_SECONDS, TRIES, PARALLEL = 120.0, 8, 16  # as of a hosted arm


class HostedTeacher:
    """Answers inputs, under an instruction where there is one.

    ``example`` is the first faulty answer: fault, text. ``wave`` is how many inputs are answered
    together.
    """

    notes: Sequence[str] = ()
    instruction_tokens: int | None = None
    wave = 4 * PARALLEL

    def __init__(
        self,
        asked: DistillSettings,
        inputs: Sequence[Input],
        instruction: str | None,
        *,
        config: RunConfig,
        tokenizer: Tokenizer | None,
        progress: Progress,
    ) -> None:
        """``tokenizer`` is that of the base that will be trained, if it is on this machine.

        Raises ConfigError where the library or the key is missing.
        """
        assert asked.teacher_model is not None, "the settings require it"
        self._inputs, self._progress = inputs, progress
        self._seed = config.train.seed
        self._longest, self._temperature = config.evaluate.longest_answer, asked.temperature
        self.example: tuple[str, str] | None = None
        self._fault = partial(
            fault_of,
            checks=build_checks(config.evaluate.checks),
            chat_format=study(tokenizer) if tokenizer is not None else None,
            instruction=instruction,
        )
        self._messages = [
            as_messages(instructed(each.messages, instruction, as_system=True))
            if instruction
            else as_messages(each.messages)
            for each in inputs
        ]
        server = EndpointAddress(
            "The teacher",
            asked.teacher_model,
            asked.teacher,
            asked.teacher_key,
            TIMEOUT_SECONDS,
            TRIES,
            PARALLEL,
        )
        self._endpoint = open_endpoint(server, REPLIES)

    def length(self, number: int) -> int:
        """The place of an input: they are asked in their order."""
        return number

    def answers(self, numbers: Sequence[int], sample: int) -> Iterator[CheckedAnswer]:
        """One answer to each of these inputs, in their order.

        Raises DataError where the endpoint is gone; what it replied before is kept.
        """
        count = pluralize(len(numbers), "input")
        draw = (self._seed << 32) + sample
        requests = [
            EndpointRequest(
                self._messages[number], self._longest, temperature=self._temperature, draw=draw
            )
            for number in numbers
        ]
        self._endpoint.ask_all(requests, phase=self._progress.phase(f"asking the teacher {count}"))
        if self._endpoint.gone is not None:
            raise DataError(
                f"The teacher answers no more: {self._endpoint.gone}.",
                remedy="What it answered is kept: give the same command again when it answers.",
                code="no_reply",
            )
        for number, request in zip(numbers, requests, strict=True):
            yield self._checked(number, request)

    def _checked(self, number: int, request: EndpointRequest) -> CheckedAnswer:
        asked = self._inputs[number]
        try:
            reply = self._endpoint.ask(request)
        except NoReply as error:
            return self._remembering(CheckedAnswer(number, str(error), "no_reply"))
        text = split_thinking(reply.text)[1].strip()
        fault = self._fault(Case(text, asked.reference, asked.text), cut=reply.ended == "length")
        return self._remembering(CheckedAnswer(number, text, fault))

    def _remembering(self, answer: CheckedAnswer) -> CheckedAnswer:
        if answer.fault is not None and self.example is None:
            self.example = answer.fault, answer.text
        return answer
