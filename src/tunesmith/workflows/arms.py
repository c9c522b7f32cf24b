"""Who answers the held-out questions under which prompt: base, prompted, examples and tuned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunesmith.config import EvaluateSettings
from tunesmith.counts import many
from tunesmith.data.chat_format import instructed, study, with_system
from tunesmith.data.chat_text import TEMPLATE_ERRORS
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.template import render_prompt
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.evaluate.examples import choose_examples, with_examples
from tunesmith.generate.decoder import Prompt
from tunesmith.workflows.answers import Question
from tunesmith.workflows.opening import Opened

BASE, PROMPTED, EXAMPLES = "base", "prompted", "examples"  # TUNED is evaluate.summary's
Change = Callable[[tuple[Message, ...]], tuple[Message, ...]]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm's prompts in the order of the questions, and what it puts in front of each.

    ``virtual_tokens`` are the adapter's own, which every request carries.
    """

    name: str
    prompts: tuple[Prompt, ...]
    virtual_tokens: int = 0

    @property
    def prompt_tokens(self) -> float:
        """Of a mean request, virtual ones aside."""
        return sum(len(prompt.ids) for prompt in self.prompts) / len(self.prompts)


@dataclass(frozen=True, slots=True)
class BaseArms:
    """The arms that the base answers, what the longer ones hold, and why others are left out."""

    arms: Mapping[str, Arm]
    left_out: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    examples: tuple[Conversation, ...] = ()


def read_instruction(settings: EvaluateSettings) -> str | None:
    """The long instructions, from their file where that is given; None without any.

    Raises ConfigError for a file that cannot be read or holds nothing.
    """
    text = settings.baseline_prompt
    if text is None:
        return None
    if len(text.split()) > 1 and not _is_file(text):  # no instruction is one word
        return text.strip()
    try:
        text = Path(text).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"evaluate.baseline_prompt: {text} cannot be read: {reason}.",
            remedy="Name the file with the instructions, or give their text.",
        ) from None
    if not text:
        raise ConfigError(
            f"evaluate.baseline_prompt: {settings.baseline_prompt} is empty.",
            remedy="Write the instructions into it, or leave the key out.",
        )
    return text


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def arm_of(
    opened: Opened,
    name: str,
    questions: Sequence[Question],
    *,
    adapter: str | None = None,
    change: Change = tuple,
) -> Arm:
    """The prompts of an arm, each with the room that the context leaves for its answer."""
    tokenizer: Tokenizer = opened.tokenizer(adapter)
    virtual = opened.engine.prefix_length(adapter)
    context = opened.base.context - virtual
    chat_format = study(tokenizer)
    prompts = []
    for question in questions:
        messages = change(question.messages)
        ids = render_prompt(tokenizer, messages, question.tools, chat_format=chat_format)
        most = max(0, context - len(ids))
        prompts.append(Prompt(tuple(ids), adapter, opening=name, most=most))
    return Arm(name, tuple(prompts), virtual)


def base_arms(
    opened: Opened,
    questions: Sequence[Question],
    settings: EvaluateSettings,
    *,
    rows: Sequence[Conversation],
    seed: int,
) -> BaseArms:
    """What the base is asked; an arm that cannot be asked is left out, and why is said.

    ``rows`` are training rows, of which examples are drawn. Raises ConfigError for a baseline
    prompt that cannot be read.
    """
    instruction = read_instruction(settings)
    if not questions:
        return BaseArms({}, instruction=instruction)
    arms = {BASE: arm_of(opened, BASE, questions)}
    left_out: dict[str, str] = {}
    asked = _Asked(opened, questions, settings, arms, left_out)
    if instruction is not None:
        change = instruction_change(opened, instruction)
        asked.add_(PROMPTED, change, remedy="Shorten evaluate.baseline_prompt")
    examples: tuple[Conversation, ...] = ()
    if settings.examples:
        texts = {question.text for question in questions}
        examples = choose_examples(rows, settings.examples, seed=seed, asked=texts)
        if not examples:
            left_out[EXAMPLES] = "no training row can stand as an example"
        else:
            asked.add_(
                EXAMPLES,
                lambda messages: with_examples(messages, examples),
                remedy=f"Give fewer than evaluate.examples={len(examples)}",
            )
    return BaseArms(arms, left_out, instruction, examples)


def instruction_change(opened: Opened, instruction: str) -> Change:
    """Puts the instructions in front of a row's messages, where the chat template takes them."""
    tokenizer: Tokenizer = opened.base.tokenizer
    as_system = study(tokenizer).keeps_system and with_system(tokenizer) is not None
    return lambda messages: instructed(messages, instruction, as_system=as_system)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Arms that grow, with those that are left out."""

    opened: Opened
    questions: Sequence[Question]
    settings: EvaluateSettings
    arms: dict[str, Arm]
    left_out: dict[str, str]

    def add_(self, name: str, change: Change, *, remedy: str) -> None:
        """Add an arm of longer prompts, or why it cannot be asked.

        Its answers have as much room as those of the base with the short prompt.
        """
        try:
            arm = arm_of(self.opened, name, self.questions, change=change)
        except TunesmithError as error:
            self.left_out[name] = str(error)
            return
        except TEMPLATE_ERRORS as error:
            self.left_out[name] = f"the model's chat template refuses its prompts: {error}"
            return
        most = self.settings.max_new_tokens
        short = [
            prompt
            for prompt, base in zip(arm.prompts, self.arms[BASE].prompts, strict=True)
            if (prompt.most or 0) < min(most, base.most or 0)
        ]
        if short:
            longest = max(len(prompt.ids) for prompt in short)
            context = self.opened.base.context
            self.left_out[name] = (
                f"{many(len(short), 'prompt')} of {len(arm.prompts):,}, the longest with "
                f"{many(longest, 'token')}, and an answer of up to {most:,} do not fit the "
                f"model's context of {context:,}. {remedy}, or lower evaluate.max_new_tokens."
            )
            return
        self.arms[name] = arm


def without_room(arm: Arm, virtual_tokens: int) -> list[int]:
    """Places of questions that leave no room for an answer behind so many virtual tokens."""
    return [i for i, prompt in enumerate(arm.prompts) if (prompt.most or 0) <= virtual_tokens]


def kept(arm: Arm, places: Sequence[int]) -> Arm:
    """The arm with the prompts at these places only."""
    return replace(arm, prompts=tuple(arm.prompts[i] for i in places))
