"""What a chat template does with tools, calls and thinking, learned by rendering known ones."""

from dataclasses import dataclass, replace
from itertools import product

from tunesmith.data.chat_text import TEMPLATE_ERRORS, Dialect, Given, chat_text, given
from tunesmith.data.rows import Message, Tool, ToolCall
from tunesmith.data.thinking import CLOSE, OPEN
from tunesmith.data.tokenizer import Tokenizer

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
QUESTION = Message("user", "probequestion4x")
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
    dialect: Dialect
    written: str


def study_tools(tokenizer: Tokenizer, template: str) -> ToolFormat:
    """Learn the format; never raises."""
    calls = _dialect_of_calls(tokenizer)
    dialect = calls or Dialect()
    thinks = _takes_thinking(tokenizer)
    inline = not thinks and (OPEN in template or CLOSE in template)
    with_tools = _text(tokenizer, given([QUESTION], [TOOL]), prompt=True)
    return ToolFormat(
        takes_tools=with_tools is None or TOOL_NAME in with_tools,
        takes_calls=calls is not None,
        takes_thinking=thinks or inline,
        dialect=replace(dialect, inline_thinking=inline),
        written=_result(tokenizer, calls) if calls else "",
    )


def _dialect_of_calls(tokenizer: Tokenizer) -> Dialect | None:
    """The first dialect in which a call is written; None where calls are left out."""
    options = product((False, True), repeat=2)
    dialects = [Dialect(arguments_as_text=text, empty_content=empty) for text, empty in options]
    chats = ([QUESTION, CALLING], [QUESTION, CALLING, RESULT])
    texts = {
        each: [_text(tokenizer, given(chat, dialect=each)) for chat in chats] for each in dialects
    }
    if all(alone is None for alone, _ in texts.values()):
        return Dialect()
    fitting = [each for each in dialects if _is_written(texts[each][0])]
    with_result = [each for each in fitting if texts[each][1] is not None]
    return next(iter([*with_result, *fitting]), None)


def _is_written(text: str | None) -> bool:
    return text is not None and TOOL_NAME in text and CITY in text


def _result(tokenizer: Tokenizer, dialect: Dialect) -> str:
    chat = given([QUESTION, CALLING, RESULT], [TOOL], dialect=dialect)
    return _text(tokenizer, chat, prompt=True) or ""


def _takes_thinking(tokenizer: Tokenizer) -> bool:
    answer = Message("assistant", "probeanswer9z", thinking=THOUGHT)
    return THOUGHT in (_text(tokenizer, given([QUESTION, answer])) or "")


def _text(tokenizer: Tokenizer, chat: Given, *, prompt: bool = False) -> str | None:
    try:
        return chat_text(tokenizer, chat, prompt=prompt)
    except TEMPLATE_ERRORS:
        return None
