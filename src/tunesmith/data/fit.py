"""Does a chat template write all of a row: what it refuses, leaves out, or adds."""

import json
from collections.abc import Iterator, Mapping, Sequence

from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.chat_text import CLOSE, split_thinking, unmarked
from tunesmith.data.faults import Problem, Remark
from tunesmith.data.rows import Conversation, Message, Tool, ToolCall, texts_in, texts_of

NO_END = Problem(
    "end_not_trained",
    "the chat template ends an answer without an end-of-turn token, so none is trained and the "
    "model would never stop.",
    "Write {{ eos_token }} behind the assistant's content in the model's chat_template.jinja.",
)


def unfit(
    conversation: Conversation, chat_format: ChatFormat, *, control_tokens: bool
) -> list[Problem]:
    """Every problem of a row with this template; ``control_tokens``: report those in it too."""
    problems = list(_control_tokens(conversation, chat_format)) if control_tokens else []
    problems += _ignored(conversation, chat_format)
    if not conversation.supervised:
        what = "no assistant message is trained, so there is nothing to learn."
        remedy = "Add an answer, give one a weight above 0, or remove the row."
        problems.append(Problem("nothing_supervised", what, remedy))
    return problems


def _control_tokens(conversation: Conversation, chat_format: ChatFormat) -> Iterator[Problem]:
    where = {
        f"message {number} ({message.role}) contains": "\n".join(texts_of(message))
        for number, message in enumerate(conversation.messages, start=1)
    }
    where["the tools contain"] = "\n".join(texts_in(conversation.tools))
    for who, text in where.items():
        found = chat_format.control.search(text)
        if found:
            yield Problem(
                "control_tokens",
                f"{who} the control token `{found[0]}`.",
                "Remove it, or write it in another way: the model would read it as the structure "
                "of the conversation. With --data.control_tokens text it is read as plain text, "
                "as it is when the model is asked.",
            )


def _ignored(conversation: Conversation, chat_format: ChatFormat) -> Iterator[Problem]:
    """What the template would leave out without a word."""
    messages = conversation.messages
    template = "the model's chat template leaves"
    if messages[0].role == "system" and messages[0].content and not chat_format.keeps_system:
        what = f"{template} out system messages."
        remedy = "Move the instructions into the first user message."
        yield Problem("system_ignored", what, remedy)
    if conversation.tools and not chat_format.tools.takes_tools:
        what = f"{template} out tools: it writes the same text with and without them."
        remedy = "Use a model whose template writes tools, or describe them in the system message."
        yield Problem("tools_ignored", what, remedy)
    if any(message.tool_calls for message in messages) and not chat_format.tools.takes_calls:
        what = f"{template} out tool calls."
        remedy = "Use a model whose template writes them, or write the calls into the content as "
        yield Problem("tool_calls_ignored", what, f"{remedy}text.")
    if any(message.thinking for message in messages) and not chat_format.tools.takes_thinking:
        what = f"{template} out thinking."
        remedy = (
            "Use a model whose template writes it, write it into the content (<think>...</think>"
        )
        yield Problem(
            "thinking_ignored", what, f"{remedy} in front of what is said), or remove it."
        )


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


ENDS_WITHOUT_ANSWER = Remark(
    "ends_without_answer",
    "the conversation ends without an answer; what comes after the last one is not used",
)


def row_remarks(
    conversation: Conversation, chat_format: ChatFormat, inserted: str | None
) -> list[Remark]:
    """What is true of a row in this format; ``inserted`` is the template's own system prompt."""
    messages = conversation.messages
    remarks = list(chat_format.remarks)
    if inserted and messages[0].role != "system":
        what = f"the chat template inserts this system prompt where a row has none: {inserted!r}"
        remarks.append(Remark("inserted_system_prompt", what))
    if chat_format.empty_thinking and _answers_at_once(conversation):
        what = "the chat template writes an empty thinking block in front of an answer without any"
        block = f"and it is trained as a part of the answer: {chat_format.empty_thinking!r}"
        remarks.append(Remark("empty_thinking", f"{what}, {block}"))
    if messages[-1].role != "assistant":
        remarks.append(ENDS_WITHOUT_ANSWER)
    texts = "\n".join(text for message in messages for text in texts_of(message))
    for token in sorted(set(chat_format.special.findall(texts))):
        what = f"the tokenizer reads `{token}` in a message as one special token"
        remarks.append(Remark("special_tokens", what))
    return remarks


def _answers_at_once(conversation: Conversation) -> bool:
    answers = (conversation.messages[i] for i in conversation.supervised)
    return any(not answer.thinking and CLOSE not in answer.content for answer in answers)
