"""The base under an instruction: its prompts, its answers, and what is wrong with each answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.run import RunConfig
from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_format import ChatFormat, instructed, study, with_system
from tunesmith.data.chat_text import TEMPLATE_ERRORS
from tunesmith.data.faults import Fault, refuse
from tunesmith.data.inputs import Input
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import split_answer
from tunesmith.data.tokenizer import HALF, Tokenizer, decode
from tunesmith.evaluation.checks.check import CannotScore, Case, Check
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import SLOTS, generate
from tunesmith.generation.sampling import Sampling

IN_FRONT = "the chat template takes no system prompt: the instruction precedes each question"


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """An answer to input ``number``, and why it may not become a row (None: it may)."""

    number: int
    text: str
    fault: str | None


class Teacher:
    """Answers inputs as the instruction asks; ``example`` is the first faulty one: fault, text.

    ``wave`` is how many inputs are answered together.
    """

    wave = SLOTS

    def __init__(
        self,
        loaded: LoadedBase,
        inputs: Sequence[Input],
        instruction: str,
        *,
        config: RunConfig,
        temperature: float,
    ) -> None:
        """Raises FaultyData with every input that cannot be asked or leaves no room to answer."""
        self._loaded, self._inputs, self._instruction = loaded, inputs, instruction
        self._tokenizer: Tokenizer = loaded.base.tokenizer
        self._format = study(self._tokenizer)
        self._checks = build_checks(config.evaluate.checks)
        self._seed = config.train.seed
        longest = config.evaluate.longest_answer
        self._sampling = Sampling(temperature=temperature, max_new_tokens=longest)
        as_system = self._format.keeps_system and with_system(self._tokenizer) is not None
        self.notes = () if as_system else (IN_FRONT,)
        self.example: tuple[str, str] | None = None
        self._prompts = self._rendered(as_system=as_system)
        alone = render_prompt(self._tokenizer, inputs[0].messages, chat_format=self._format)
        self.instruction_tokens = len(self._prompts[0]) - len(alone)

    def _rendered(self, *, as_system: bool) -> list[tuple[int, ...]]:
        room = self._loaded.base.context - self._sampling.max_new_tokens
        prompts: list[tuple[int, ...]] = []
        faults: list[Fault] = []
        for each in self._inputs:
            try:
                asked = instructed(each.messages, self._instruction, as_system=as_system)
                ids = render_prompt(self._tokenizer, asked, chat_format=self._format)
            except TEMPLATE_ERRORS as error:
                what = f"the model's chat template refuses it: {error}."
                problem = Fault("refused_by_template", what, "Remove the row, or rewrite it.")
                faults.append(problem.at(each.file, each.line))
                continue
            prompts.append(tuple(ids))
            if len(ids) > room:
                faults.append(self._too_long(len(ids)).at(each.file, each.line))
        refuse(faults)
        return prompts

    def _too_long(self, tokens: int) -> Fault:
        context, limit = self._loaded.base.context, self._sampling.max_new_tokens
        return Fault(
            "too_long",
            f"with the instruction it has {pluralize(tokens, 'token')}, and with an answer of "
            f"{limit:,} more than the model's context of {context:,}.",
            "Shorten it or the instruction, or give a smaller --max-new-tokens.",
        )

    def length(self, number: int) -> int:
        """Tokens of an input's prompt."""
        return len(self._prompts[number])

    def answers(self, numbers: Sequence[int], sample: int) -> Iterator[CheckedAnswer]:
        """One answer to each of these inputs, in the order in which they are finished.

        Draw number ``sample`` of an input is the same whatever other inputs there are.
        """
        prompts = [
            Prompt(self._prompts[number], draw=(sample << 32) + number) for number in numbers
        ]
        base = self._loaded.base
        for answer in generate(
            self._loaded.engine,
            prompts,
            stop_ids=base.stop_ids,
            sampling=self._sampling,
            seed=self._seed,
        ):
            number = numbers[answer.row]
            text = split_answer(decode(self._tokenizer, answer.ids))[1].strip()
            asked = self._inputs[number]
            case = Case(text, asked.reference, asked.text)
            fault = fault_of(
                case,
                cut=answer.ended == "length",
                checks=self._checks,
                chat_format=self._format,
                instruction=self._instruction,
            )
            if fault is not None and self.example is None:
                self.example = fault, text
            yield CheckedAnswer(number, text, fault)


def fault_of(
    case: Case,
    *,
    cut: bool,
    checks: Sequence[Check],
    chat_format: ChatFormat | None,
    instruction: str | None,
) -> str | None:
    """Why an answer may not become a row: what training would refuse, then the checks."""
    text, known = case.answer, chat_format
    if cut:
        return "cut"
    if not text:
        return "empty"
    if HALF in text:
        return "half_a_character"
    if known is not None and (known.control.search(text) or known.special.search(text)):
        return "control_tokens"
    if instruction and instruction in text:
        return "repeats_the_instruction"
    return next((fault for check in checks if (fault := _failed(check, case))), None)


def _failed(check: Check, case: Case) -> str | None:
    """The check's name where the answer does not pass it, also where it cannot be scored."""
    try:
        score = check.score(case.answer, case.reference, case.question)
    except CannotScore:
        return f"{check.name}: no score"
    return check.name if score < 1 else None
