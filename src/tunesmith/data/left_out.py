"""What of a row its chat template left out: a tool, a call, a result, a thought or a name."""

import json
from collections.abc import Iterator, Mapping, Sequence

from tunesmith.data.chat_text import unmarked
from tunesmith.data.faults import Problem, Remark
from tunesmith.data.rows import Conversation, Message, Tool, ToolCall
from tunesmith.data.thinking import CLOSE, split_thinking

OTHER_MODEL = "Use a model whose chat template writes it, or say it in the content of a message."
NAMES = Remark("names_left_out", "the chat template leaves the names of speakers out")
THINKING = Remark(
    "thinking_left_out",
    "the chat template strips the thinking of earlier answers, as it does when the model is asked; "
    "the answers that are trained keep theirs",
)


def is_plain(conversation: Conversation) -> bool:
    """Whether a row has roles and contents only, which every template writes."""
    return not conversation.tools and not any(
        message.role == "tool"
        or message.tool_calls
        or message.thinking
        or message.name
        or CLOSE in message.content
        for message in conversation.messages
    )


def left_out(
    conversation: Conversation, text: str, *, until: int, trained: Sequence[int]
) -> tuple[list[Problem], list[Remark]]:
    """What the document ``text`` lacks of the row's first ``until`` messages.

    It is a problem, but for what a model does without when it is asked: names, and the thinking of
    answers that are not ``trained`` in this document.
    """
    text = unmarked(text)
    problems = [*_tools(conversation.tools, text)]
    remarks: list[Remark] = []
    for i, message in enumerate(conversation.messages[:until]):
        problems += _of_message(message, text, number=i + 1)
        thinking = message.thinking or split_thinking(message.content)[0]
        if not _has(text, thinking):
            if i in trained:
                problems.append(_thinking(i + 1))
            else:
                remarks.append(THINKING)
        if message.name and message.role != "tool" and not _has(text, message.name):
            remarks.append(NAMES)
    return problems, remarks


def _tools(tools: Sequence[Tool], text: str) -> Iterator[Problem]:
    for tool in tools:
        function = tool.get("function")
        name = str(function.get("name")) if isinstance(function, Mapping) else ""
        if not _has(text, name):
            what = f"the model's chat template leaves out the tool `{name}`."
            yield Problem("tools_ignored", what, OTHER_MODEL)


def _of_message(message: Message, text: str, *, number: int) -> Iterator[Problem]:
    where = f"of message {number} ({message.role})"
    for call in message.tool_calls:
        if not _has_call(text, call):
            what = f"the model's chat template leaves out a call {where}: `{call.name}`."
            yield Problem("tool_calls_ignored", what, OTHER_MODEL)
    special = message.tool_calls or message.role == "tool"
    if special and not _has(text, split_thinking(message.content)[1]):
        what = f"the model's chat template leaves out the content {where}."
        yield Problem("content_ignored", what, f"Remove the content. Or: {OTHER_MODEL}")


def _thinking(number: int) -> Problem:
    what = f"the model's chat template leaves out the thinking of message {number}."
    return Problem("thinking_ignored", what, f"Remove the thinking. Or: {OTHER_MODEL}")


def _has_call(text: str, call: ToolCall) -> bool:
    return _has(text, call.name) and all(_has(text, leaf) for leaf in _leaves(call.arguments))


def _leaves(value: object) -> Iterator[str]:
    """Every text and number in a JSON value, as it would be written."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


def _has(text: str, part: str) -> bool:
    """Whether a text has a part: as it is, or inside JSON."""
    part = part.strip()
    forms = (part, json.dumps(part, ensure_ascii=False)[1:-1], json.dumps(part)[1:-1])
    return any(form in text for form in forms)
