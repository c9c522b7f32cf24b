"""Who answers the held-out questions under which prompt: base, prompted, examples and tuned."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import EvaluateSettings
from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_format import instructed, study, with_system
from tunesmith.data.chat_text import TEMPLATE_ERRORS
from tunesmith.data.quality.text import bare, fold, letters
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.template import render_prompt
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.comparison import BASE, EXAMPLES, PROMPTED
from tunesmith.generation.decoder import Prompt


def choose_examples(
    rows: Sequence[Conversation], count: int, *, seed: int, asked: Collection[str] = ()
) -> tuple[Conversation, ...]:
    """At most ``count`` of the rows in the order of the draw.

    An answer comes again only when every other one has come as often: few answers (labels) are
    all shown before any is repeated, answers that all differ are drawn evenly. Rows that ask in any
    of their turns what is in ``asked``, the held-out questions, be it with other punctuation, are
    skipped, as the prompt would hold the answer.
    """
    known = {_letters(text) for text in asked}
    order = [row for row in rows if row.supervised and not _asks(row, known)]
    random.Random(seed).shuffle(order)
    rounds: dict[str, int] = {}
    turns: list[tuple[int, int]] = []
    for place, row in enumerate(order):
        answer = " ".join(row.messages[row.supervised[-1]].content.split()).casefold()
        rounds[answer] = rounds.get(answer, -1) + 1
        turns.append((rounds[answer], place))
    return tuple(order[place] for _, place in sorted(turns)[:count])


def with_examples(
    messages: Sequence[Message], examples: Sequence[Conversation]
) -> tuple[Message, ...]:
    """The messages with the examples as earlier turns, after their own system prompt.

    An example with another system prompt has it before its question.
    """
    system = [message for message in messages[:1] if message.role == "system"]
    turns = [turn for each in examples for turn in _turns(each, system)]
    return (*system, *turns, *messages[len(system) :])


def _turns(row: Conversation, system: Sequence[Message]) -> tuple[Message, ...]:
    """An example up to its last trained answer, as turns of another conversation."""
    turns = row.messages[: row.supervised[-1] + 1]
    if turns[0].role != "system":
        return turns
    own, first, *rest = turns
    if any(message.content == own.content for message in system):
        return (first, *rest)
    return (Message(first.role, f"{own.content}\n\n{first.content}"), *rest)


def _asks(row: Conversation, known: Collection[str]) -> bool:
    before = row.messages[: row.supervised[-1]]
    asks = [turn for turn in before if turn.role == "user" or turn is before[-1]]
    return any(_letters(turn.content) in known for turn in asks)


def _letters(text: str) -> str:
    return letters(bare(fold(text)))


Change = Callable[[tuple[Message, ...]], tuple[Message, ...]]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm's prompts in the order of the questions.

    ``virtual_tokens`` are those of the adapter, which precede every prompt.
    """

    name: str
    prompts: tuple[Prompt, ...]
    virtual_tokens: int = 0

    @property
    def prompt_tokens(self) -> float:
        """Tokens of a mean prompt, without virtual ones."""
        return sum(len(prompt.ids) for prompt in self.prompts) / len(self.prompts)


@dataclass(frozen=True, slots=True)
class BaseArms:
    """The arms that the base answers, what the longer prompts hold, and why arms are left out."""

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
            remedy="Write the instructions into it, or remove the key.",
        )
    return text


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def arm_of(
    loaded: LoadedBase,
    name: str,
    questions: Sequence[Question],
    *,
    adapter: str | None = None,
    change: Change = tuple,
) -> Arm:
    """The prompts of an arm, each with the room that the context leaves for its answer."""
    tokenizer: Tokenizer = loaded.tokenizer(adapter)
    virtual = loaded.engine.prefix_length(adapter)
    context = loaded.base.context - virtual
    chat_format = study(tokenizer)
    prompts = []
    for question in questions:
        messages = change(question.messages)
        ids = render_prompt(tokenizer, messages, question.tools, chat_format=chat_format)
        limit = max(0, context - len(ids))
        prompts.append(Prompt(tuple(ids), adapter, opening=name, limit=limit))
    return Arm(name, tuple(prompts), virtual)


def base_arms(
    loaded: LoadedBase,
    questions: Sequence[Question],
    settings: EvaluateSettings,
    *,
    rows: Sequence[Conversation],
    seed: int,
) -> BaseArms:
    """What the base is asked; an arm that cannot be asked is left out, with the reason.

    ``rows`` are training rows, of which examples are drawn. Raises ConfigError for a baseline
    prompt that cannot be read.
    """
    instruction = read_instruction(settings)
    if not questions:
        return BaseArms({}, instruction=instruction)
    examples: tuple[Conversation, ...] = ()
    if settings.num_fewshot:
        texts = {question.text for question in questions}
        examples = choose_examples(rows, settings.num_fewshot, seed=seed, asked=texts)
    short = arm_of(loaded, BASE, questions)
    arms, left_out = {BASE: short}, dict[str, str]()
    for name, (change, remedy) in _longer_prompts(loaded, instruction, examples).items():
        try:
            arm = arm_of(loaded, name, questions, change=change)
        except TunesmithError as error:
            left_out[name] = str(error)
        except TEMPLATE_ERRORS as error:
            left_out[name] = f"the model's chat template refuses its prompts: {error}"
        else:
            if (full := _lacks_room(arm, short, settings, loaded.base.context)) is None:
                arms[name] = arm
            else:
                left_out[name] = f"{full} {remedy}"
    if settings.num_fewshot and not examples:
        left_out[EXAMPLES] = "no training row can serve as an example"
    return BaseArms(arms, left_out, instruction, examples)


def _longer_prompts(
    loaded: LoadedBase, instruction: str | None, examples: Sequence[Conversation]
) -> dict[str, tuple[Change, str]]:
    """How each arm beside the base changes a prompt, and what to do where that is too long."""
    found: dict[str, tuple[Change, str]] = {}
    if instruction is not None:
        change = instruction_change(loaded, instruction)
        shorter = "Shorten evaluate.baseline_prompt, or lower evaluate.max_new_tokens."
        found[PROMPTED] = change, shorter
    if examples:
        fewer = (
            f"Give fewer than evaluate.num_fewshot={len(examples)}, or lower "
            "evaluate.max_new_tokens."
        )
        found[EXAMPLES] = (lambda messages: with_examples(messages, examples)), fewer
    return found


def _lacks_room(arm: Arm, short: Arm, settings: EvaluateSettings, context: int) -> str | None:
    """Why longer prompts leave an answer less room than the base's short ones; None if not."""
    limit = settings.longest_answer
    full = [
        prompt
        for prompt, base in zip(arm.prompts, short.prompts, strict=True)
        if (prompt.limit or 0) < min(limit, base.limit or 0)
    ]
    if not full:
        return None
    longest = max(len(prompt.ids) for prompt in full)
    return (
        f"{pluralize(len(full), 'prompt')} of {len(arm.prompts):,}, the longest with "
        f"{pluralize(longest, 'token')}, and an answer of up to {limit:,} do not fit the "
        f"model's context of {context:,}."
    )


def instruction_change(loaded: LoadedBase, instruction: str) -> Change:
    """Puts the instructions before a row's messages, where the chat template takes them."""
    tokenizer: Tokenizer = loaded.tokenizer(None)
    as_system = study(tokenizer).keeps_system and with_system(tokenizer) is not None
    return lambda messages: instructed(messages, instruction, as_system=as_system)


def without_room(arm: Arm, virtual_tokens: int) -> list[int]:
    """Places of questions that leave no room for an answer after so many virtual tokens."""
    return [i for i, prompt in enumerate(arm.prompts) if (prompt.limit or 0) <= virtual_tokens]


def kept(arm: Arm, places: Sequence[int]) -> Arm:
    """The arm with the prompts at these places only."""
    return replace(arm, prompts=tuple(arm.prompts[i] for i in places))
