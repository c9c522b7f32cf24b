"""What a model's chat template does, learned once by rendering messages that are known."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunesmith.data.chat_text import (
    NOTHING,
    TEMPLATE_ERRORS,
    Dialect,
    chat_text,
    given,
    marked_text,
    template_of,
)
from tunesmith.data.faults import Remark
from tunesmith.data.rows import Message
from tunesmith.data.thinking import CLOSE, OPEN
from tunesmith.data.tokenizer import Tokenizer, decode, encode
from tunesmith.data.tool_format import study_tools
from tunesmith.errors import DataError

SYSTEM, QUESTION, ANSWER = "probesystem7q", "probequestion4x", "probeanswer9z"
PROBE = (Message("user", QUESTION), Message("assistant", ANSWER))
GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
OTHER_PROMPT = Remark(
    "other_prompt",
    "the chat template opens an answer differently when the model is asked than in training",
)
DATED = Remark(
    "dated_template", "the chat template writes today's date: rows change from one day to the next"
)
THINKING = {OPEN, CLOSE}


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How a tokenizer's chat template writes an answer.

    ``closing`` counts the control tokens which follow an answer in its turn: the first ends the
    turn, 0 means that none does. ``marked`` counts those inside the template's {% generation %}
    marks; it is None without (working) marks. ``control`` finds tokens that structure a
    conversation, ``special`` every other special token. ``keeps_system`` is whether a system
    message is written (or refused) and not left out; ``takes_tools``, ``takes_calls`` and
    ``takes_thinking`` say the same of those, and ``dialect`` how they are wanted.
    ``empty_thinking`` is what it writes in front of an answer without thinking. ``remarks`` are
    true of every row.
    """

    closing: int
    marked: int | None
    special_ids: frozenset[int]
    control: re.Pattern[str]
    special: re.Pattern[str]
    keeps_system: bool
    takes_tools: bool
    takes_calls: bool
    takes_thinking: bool
    dialect: Dialect
    empty_thinking: str
    remarks: tuple[Remark, ...] = ()


def study(tokenizer: Tokenizer) -> ChatFormat:
    """Learn the format by rendering a question and an answer; raises DataError without one."""
    template = template_of(tokenizer)
    prompt, full = _probe(tokenizer)
    system = with_system(tokenizer)
    after = full.rpartition(ANSWER)[2]
    special = special_tokens(tokenizer)
    written = _added_tokens(tokenizer, prompt + after)
    ids = frozenset(special) | frozenset(written)
    tools = study_tools(tokenizer, template)
    seen = full + (system or "") + tools.written
    used = {text for text in special.values() if text in seen} | set(written.values())
    used = (used | _named_tokens(tokenizer)) - THINKING
    prompt_ids, full_ids, after_ids = encode(tokenizer, [prompt, full, after])
    marked = _marked(tokenizer, template, ids)
    before = full.removeprefix(prompt).partition(ANSWER)[0] if full.startswith(prompt) else ""
    is_true = {
        OTHER_PROMPT: marked is not None and full_ids[: len(prompt_ids)] != prompt_ids,
        DATED: "strftime_now" in template,
    }
    return ChatFormat(
        closing=sum(i in ids for i in after_ids),
        marked=marked,
        special_ids=ids,
        control=pattern(used),
        special=pattern(set(special.values()) - used - THINKING),
        keeps_system=system is None or SYSTEM in system,
        takes_tools=tools.takes_tools,
        takes_calls=tools.takes_calls,
        takes_thinking=tools.takes_thinking,
        dialect=tools.dialect,
        empty_thinking=before if CLOSE in before else "",
        remarks=tuple(remark for remark, true in is_true.items() if true),
    )


def _probe(tokenizer: Tokenizer) -> tuple[str, str]:
    """A question that waits for its answer, and a question with one."""
    try:
        prompt = chat_text(tokenizer, given(PROBE[:1]), prompt=True)
        full = chat_text(tokenizer, given(PROBE))
    except TEMPLATE_ERRORS as error:
        raise DataError(
            f"The tokenizer's chat template cannot write a question and an answer: {error}.",
            remedy="Give a model with a working chat template, or mend its chat_template.jinja.",
            code="chat_template",
        ) from None
    if ANSWER not in full:
        raise DataError(
            "The tokenizer's chat template leaves out the assistant's answer.",
            remedy="Give a model with a template for finished conversations.",
            code="chat_template",
        )
    return prompt, full


def special_tokens(tokenizer: Tokenizer) -> dict[int, str]:
    """Every token that the tokenizer calls special, by id."""
    tokens = tokenizer.added_tokens_decoder
    special = {i: token.content for i, token in tokens.items() if token.special}
    return special | {i: decode(tokenizer, [i]) for i in tokenizer.all_special_ids}


def _added_tokens(tokenizer: Tokenizer, text: str) -> dict[int, str]:
    """Added tokens in ``text``, special or not: some models end turns with ordinary ones.

    Not those around thinking, which are a part of what is said.
    """
    tokens = tokenizer.added_tokens_decoder.items()
    written = {i: t.content for i, t in tokens if t.content.strip() and t.content in text}
    return {i: content for i, content in written.items() if content not in THINKING}


def _named_tokens(tokenizer: Tokenizer) -> set[str]:
    names = ("bos_token", "eos_token", "pad_token")
    found = (tokenizer.special_tokens_map.get(name) for name in names)
    return {token for token in found if isinstance(token, str)}


def _marked(tokenizer: Tokenizer, template: str, special_ids: frozenset[int]) -> int | None:
    """Control tokens after the answer inside the template's marks; None if marks do not work."""
    if not GENERATION_MARK.search(template):
        return None
    text, spans = marked_text(tokenizer, given(PROBE))
    marked = [text[start:stop] for start, stop in spans]
    if len(marked) != 1 or ANSWER not in marked[0]:
        return None
    (after,) = encode(tokenizer, [marked[0].rpartition(ANSWER)[2]])
    return sum(i in special_ids for i in after)


def pattern(texts: Iterable[str]) -> re.Pattern[str]:
    """An expression that finds each of ``texts``, the longest first."""
    longest_first = sorted(filter(None, texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else NOTHING


def with_system(tokenizer: Tokenizer) -> str | None:
    """A question with a system message in front; None if the template refuses one."""
    try:
        return chat_text(tokenizer, given([Message("system", SYSTEM), *PROBE[:1]]))
    except TEMPLATE_ERRORS:
        return None


def instructed(
    messages: Sequence[Message], instruction: str, *, as_system: bool
) -> tuple[Message, ...]:
    """The messages under the instruction: in front of their own system prompt, else the first.

    Without ``as_system`` it stands in front of the user's first message.
    """
    first, rest = messages[0], tuple(messages[1:])
    has_system = first.role == "system"
    if as_system and not has_system:
        return (Message("system", instruction), first, *rest)
    if has_system and not as_system:
        return (first, *instructed(rest, instruction, as_system=False))
    return (Message(first.role, f"{instruction}\n\n{first.content}"), *rest)
