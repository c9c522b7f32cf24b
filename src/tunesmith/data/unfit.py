"""Which rows a chat template cannot take, told before it is asked to write them."""

from collections.abc import Iterator

from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.faults import Problem
from tunesmith.data.rows import Conversation, texts_in, texts_of

NO_END = Problem(
    "end_not_trained",
    "the chat template ends an answer without an end-of-turn token, so none is trained and the "
    "model would never stop.",
    "Write {{ eos_token }} behind the assistant's content in the model's chat_template.jinja.",
)


def unfit(
    conversation: Conversation, chat_format: ChatFormat, *, control_tokens: bool
) -> list[Problem]:
    """Every problem of a row with this template; ``control_tokens``: those in it are told."""
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
    if conversation.tools and not chat_format.takes_tools:
        what = f"{template} out tools: it writes the same text with and without them."
        remedy = "Use a model whose template writes tools, or describe them in the system message."
        yield Problem("tools_ignored", what, remedy)
    if any(message.tool_calls for message in messages) and not chat_format.takes_calls:
        what = f"{template} out tool calls."
        remedy = "Use a model whose template writes them, or write the calls into the content as "
        yield Problem("tool_calls_ignored", what, f"{remedy}text.")
    if any(message.thinking for message in messages) and not chat_format.takes_thinking:
        what = f"{template} out thinking."
        remedy = (
            "Use a model whose template writes it, write it into the content (<think>...</think>"
        )
        yield Problem(
            "thinking_ignored", what, f"{remedy} in front of what is said), or remove it."
        )
