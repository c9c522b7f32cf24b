"""What does a chat template leave out of a conversation, without a word?"""

import json
from collections.abc import Iterator, Mapping, Sequence

from tunesmith.core.errors import DataError
from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.chat_text import CLOSE, split_thinking, unmarked
from tunesmith.data.faults import Fault, Note
from tunesmith.data.rows import Conversation, Example, Message, Tool

OMITS = "the model's chat template leaves out"
OTHER_MODEL = "Use a model whose chat template writes it, or say it in the content of a message."
SWITCH = "turn it on where the template can (--data.template_options enable_thinking=true)."
OR_OTHER = f"Or: {OTHER_MODEL}"
NAMES = Note("names_left_out", "the chat template leaves the names of speakers out")
THINKING = Note(
    "thinking_left_out",
    "the chat template strips the thinking of earlier answers, as it does when the model is asked; "
    "the answers that are trained keep theirs",
)


def ignored(conversation: Conversation, chat_format: ChatFormat) -> Iterator[Fault]:
    """What the template would omit silently."""
    messages, tools = conversation.messages, chat_format.tools
    if messages[0].role == "system" and messages[0].content and not chat_format.keeps_system:
        remedy = "Move the instructions into the first user message."
        yield Fault("system_ignored", f"{OMITS} the system message.", remedy)
    if conversation.tools and not tools.takes_tools:
        what = f"{OMITS} tools: it writes the same text with and without them."
        remedy = "Use a model whose template writes tools, or describe them in the system message."
        yield Fault("tools_ignored", what, remedy)
    if any(message.tool_calls for message in messages) and not tools.takes_calls:
        remedy = "Use a model whose template writes them, or write the calls into the content as "
        yield Fault("tool_calls_ignored", f"{OMITS} tool calls.", f"{remedy}text.")
    if any(message.thinking for message in messages) and not tools.takes_thinking:
        remedy = "Use a model whose template writes it, write it into the content "
        remedy += "(<think>...</think> in front of what is said), or remove it."
        yield Fault("thinking_ignored", f"{OMITS} thinking.", remedy)


def is_plain(conversation: Conversation) -> bool:
    """Whether a row has roles and contents only, which every template writes."""
    return not conversation.tools and not any(
        m.role == "tool" or m.tool_calls or m.thinking or m.name or CLOSE in m.content
        for m in conversation.messages
    )


def left_out(conversation: Conversation, example: Example) -> tuple[list[Fault], list[Note]]:
    """What the example's text lacks of the messages that it is made of.

    It is a fault, except for what a model does without at inference: names, and the thinking of
    answers that are not trained in this example.
    """
    if is_plain(conversation):
        return [], []
    trained = [cut.message for cut in example.cuts]
    until = len(conversation.messages) if example.whole else trained[-1] + 1
    text = unmarked(example.full)
    problems, notes = list[Fault](), list[Note]()
    for tool in conversation.tools:
        function = tool.get("function")
        name = str(function.get("name")) if isinstance(function, Mapping) else None
        if name and not _has(text, name):
            problems.append(Fault("tools_ignored", f"{OMITS} the tool `{name}`.", OTHER_MODEL))
    for i, message in enumerate(conversation.messages[:until]):
        problems += _of_message(message, text, number=i + 1)
        thinking = message.thinking or split_thinking(message.content)[0]
        if not _has(text, thinking) and i in trained:
            what = f"{OMITS} the thinking of message {i + 1}."
            problems.append(Fault("thinking_ignored", what, f"Remove it, or {SWITCH} {OR_OTHER}"))
        elif not _has(text, thinking):
            notes.append(THINKING)
        if message.name and message.role != "tool" and not _has(text, message.name):
            notes.append(NAMES)
    return problems, notes


def _of_message(message: Message, text: str, *, number: int) -> Iterator[Fault]:
    where = f"of message {number} ({message.role})"
    for call in message.tool_calls:
        if not all(_has(text, part) for part in (call.name, *_leaves(call.arguments))):
            what = f"{OMITS} a call {where}: `{call.name}`."
            yield Fault("tool_calls_ignored", what, OTHER_MODEL)
    special = message.tool_calls or message.role == "tool"
    if special and not _has(text, split_thinking(message.content)[1]):
        what = f"{OMITS} the content {where}."
        yield Fault("content_ignored", what, f"Remove the content. {OR_OTHER}")


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


def require_written(
    messages: Sequence[Message], tools: Sequence[Tool], chat_format: ChatFormat, text: str = ""
) -> None:
    """Raise DataError for what a prompt leaves out; without its ``text`` for what any would.

    What a model does without when it is asked is none of that: the thinking of earlier answers, and
    what an assistant says beside its calls where calls alone are written.
    """
    asked = Conversation(tuple(messages), tools=tuple(tools))
    faults = list(ignored(asked, chat_format))
    written = unmarked(text)
    for number, message in enumerate(messages if text else (), start=1):
        beside = bool(message.tool_calls)
        found = _of_message(message, written, number=number)
        faults += [each for each in found if not (beside and each.code == "content_ignored")]
    for fault in faults:
        if fault.code != "thinking_ignored":
            raise DataError(
                f"This conversation cannot be asked: {fault.message}",
                remedy=fault.remedy,
                code=fault.code,
            )
