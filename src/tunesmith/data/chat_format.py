"""How a chat template writes answers, tools, thinking and a system prompt, learned by rendering."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from tunesmith.core.errors import DataError
from tunesmith.data.chat_text import (
    CLOSE,
    NOTHING,
    OPEN,
    TEMPLATE_ERRORS,
    Given,
    TemplateDialect,
    chat_text,
    given,
    marked_text,
    template_of,
)
from tunesmith.data.faults import Note
from tunesmith.data.rows import Message, Tool, ToolCall
from tunesmith.data.tokenizer import Tokenizer, decode, encode

TOOL_NAME, PLACE, CITY, THOUGHT = "probetool5k", "probeplace", "probecity3m", "probethought2v"
TOOL: Tool = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "A probe.",
        "parameters": {
            "type": "object",
            "properties": {PLACE: {"type": "string", "description": "Where."}},
            "required": [PLACE],
        },
    },
}
CALL = ToolCall(TOOL_NAME, {PLACE: CITY}, id="probecall")  # some templates want nine characters
ASKING = Message("user", "probequestion4x")
CALLING = Message("assistant", "", tool_calls=(CALL,))
RESULT = Message("tool", "proberesult8w", name=TOOL_NAME, tool_call_id=CALL.id)


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """What a template writes of what not every template knows; ``dialect`` is how it wants it.

    What it refuses by itself counts as taken, since it has words of its own for the row.
    ``written`` is a conversation with a call and its result, "" where that cannot be written.
    """

    takes_tools: bool
    takes_calls: bool
    takes_thinking: bool
    dialect: TemplateDialect
    written: str


def study_tools(tokenizer: Tokenizer, template: str) -> ToolFormat:
    """Learn the format; never raises."""
    calls = _dialect_of_calls(tokenizer)
    dialect = calls or TemplateDialect(empty_content=True)
    answer = Message("assistant", "probeanswer9z", thinking=THOUGHT)
    thinks = THOUGHT in (rendered(tokenizer, given([ASKING, answer])) or "")
    used = given([ASKING, CALLING, RESULT], [TOOL], dialect=dialect)
    inline = not thinks and (OPEN in template or CLOSE in template)
    with_tools = rendered(tokenizer, given([ASKING], [TOOL]), prompt=True)
    return ToolFormat(
        takes_tools=with_tools is None or TOOL_NAME in with_tools,
        takes_calls=calls is not None,
        takes_thinking=thinks or inline,
        dialect=replace(dialect, inline_thinking=inline),
        written=(calls and rendered(tokenizer, used, prompt=True)) or "",
    )


def _dialect_of_calls(tokenizer: Tokenizer) -> TemplateDialect | None:
    """The first dialect in which a call is written; None where calls are left out."""
    options = product((False, True), repeat=2)
    dialects = [
        TemplateDialect(arguments_as_text=text, empty_content=empty) for text, empty in options
    ]
    chats = ([ASKING, CALLING], [ASKING, CALLING, RESULT])
    texts = {
        each: [rendered(tokenizer, given(chat, dialect=each)) for chat in chats]
        for each in dialects
    }
    if all(alone is None for alone, _ in texts.values()):
        return TemplateDialect()
    alone = {each: texts[each][0] or "" for each in dialects}
    fitting = [each for each in dialects if TOOL_NAME in alone[each] and CITY in alone[each]]
    with_result = [each for each in fitting if texts[each][1] is not None]
    return next(iter([*with_result, *fitting]), None)


def rendered(tokenizer: Tokenizer, chat: Given, *, prompt: bool = False) -> str | None:
    """What a template writes; None where it refuses to."""
    try:
        return chat_text(tokenizer, chat, prompt=prompt)
    except TEMPLATE_ERRORS:
        return None


SYSTEM, QUESTION, ANSWER = "probesystem7q", "probequestion4x", "probeanswer9z"
PROBE = (Message("user", QUESTION), Message("assistant", ANSWER))
GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
OTHER_PROMPT = Note(
    "other_prompt",
    "the chat template opens an answer differently when the model is asked than in training",
)
DATED = Note(
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
    message is written (or refused) and not left out, ``tools`` how tools and thinking are.
    ``empty_thinking`` is what it writes in front of an answer without thinking. ``notes`` are
    true of every row.
    """

    closing: int
    marked: int | None
    special_ids: frozenset[int]
    control: re.Pattern[str]
    special: re.Pattern[str]
    keeps_system: bool
    tools: ToolFormat
    empty_thinking: str
    notes: tuple[Note, ...] = ()


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
    named = map(tokenizer.special_tokens_map.get, ("bos_token", "eos_token", "pad_token"))
    used = (used | {token for token in named if isinstance(token, str)}) - THINKING
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
        tools=tools,
        empty_thinking=before if CLOSE in before else "",
        notes=tuple(note for note, true in is_true.items() if true),
    )


def _probe(tokenizer: Tokenizer) -> tuple[str, str]:
    """A question that waits for its answer, and a question with one."""
    try:
        prompt = chat_text(tokenizer, given(PROBE[:1]), prompt=True)
        full = chat_text(tokenizer, given(PROBE))
    except TEMPLATE_ERRORS as error:
        what = f"The tokenizer's chat template cannot write a question and an answer: {error}."
        remedy = "Give a model with a working chat template, or fix its chat_template.jinja."
        raise DataError(what, remedy=remedy, code="chat_template") from None
    if ANSWER not in full:
        what = "The tokenizer's chat template leaves out the assistant's answer."
        remedy = "Give a model with a template for finished conversations."
        raise DataError(what, remedy=remedy, code="chat_template")
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
    tokens = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
    return {i: t for i, t in tokens.items() if t.strip() and t in text and t not in THINKING}


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
    return rendered(tokenizer, given([Message("system", SYSTEM), *PROBE[:1]]))


def require_system_messages(tokenizer: Tokenizer) -> None:
    """Raise DataError where the chat template refuses system messages, or leaves them out."""
    text = with_system(tokenizer)
    if text is not None and SYSTEM in text:
        return
    how = "refuses any" if text is None else "leaves out the"
    raise DataError(
        f"The model's chat template {how} system message, so data.system cannot be used.",
        remedy="Leave data.system out, or use a model whose template takes a system message.",
        code="system_ignored",
    )


def instructed(
    messages: Sequence[Message], instruction: str, *, as_system: bool
) -> tuple[Message, ...]:
    """The messages under the instruction: in front of their own system prompt, else the first.

    Without ``as_system`` it comes before the user's first message.
    """
    first, rest = messages[0], tuple(messages[1:])
    has_system = first.role == "system"
    if as_system and not has_system:
        return (Message("system", instruction), first, *rest)
    if has_system and not as_system:
        return (first, *instructed(rest, instruction, as_system=False))
    return (Message(first.role, f"{instruction}\n\n{first.content}"), *rest)


def inserted_system_prompt(tokenizer: Tokenizer) -> str | None:
    """The system prompt that the template writes when a conversation has none; None without one.

    Found by comparing a question with and without a system message in front of it. Where the
    template wraps every system message in text of its own, that text is the inserted prompt.
    """
    template_of(tokenizer)
    without = chat_text(tokenizer, given(PROBE[:1]))
    with_one = with_system(tokenizer)
    if with_one is None:
        return None
    before, found, after = with_one.partition(SYSTEM)
    in_user_turn = before == without.partition(QUESTION)[0]
    fits = len(before) + len(after) <= len(without)
    is_same = without.startswith(before) and without.endswith(after)
    if not found or in_user_turn or not fits or not is_same:
        return None
    inserted = without[len(before) : len(without) - len(after)]
    return inserted.strip() or _wrapping(tokenizer, before) or None


def _wrapping(tokenizer: Tokenizer, before: str) -> str:
    """The text before a system message without its header, which looks like a user's."""
    closing = chat_text(tokenizer, given(PROBE)).rpartition(ANSWER)[2]
    later = chat_text(tokenizer, given([*PROBE, PROBE[0]])).rpartition(ANSWER)[2]
    header = later.partition(QUESTION)[0].removeprefix(closing).replace("user", "system")
    text = before.partition(header)[2] if header in before else before
    return pattern(special_tokens(tokenizer).values()).sub("", text).strip()
