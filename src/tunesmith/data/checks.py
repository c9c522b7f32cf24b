"""Which conversations can be trained on: roles in order, something said, something to learn."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tunesmith.data.faults import Problem
from tunesmith.data.rows import Conversation, Message

ROLES = ("system", "user", "assistant")
OTHER_NAMES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
OTHER_NAMES |= {"chatgpt": "assistant", "ai": "assistant", "developer": "system"}


def check(conversation: Conversation) -> list[Problem]:
    """Everything that keeps the conversation from being trained on."""
    messages = conversation.messages
    if conversation.is_text:
        return list(_texts(messages))
    problems = [*_texts(messages), *_unknown_roles(messages)]
    if all(message.role in ROLES for message in messages):
        problems += [*_order(messages), *_targets(conversation)]
    return problems


def _texts(messages: Sequence[Message]) -> Iterator[Problem]:
    for number, message in enumerate(messages, start=1):
        if not message.content.strip():
            what = f"message {number} ({message.role}) has no content."
            yield Problem("empty", what, "Write something, or remove the row.")
        try:
            message.content.encode()
        except UnicodeEncodeError as error:
            what = f"message {number} ({message.role}) holds half of a surrogate pair"
            yield Problem(
                "wrong_type",
                f"{what} at character {error.start + 1}.",
                "Write the whole character: the text was cut or escaped in the middle of one.",
            )


def _unknown_roles(messages: Sequence[Message]) -> Iterator[Problem]:
    for number, message in enumerate(messages, start=1):
        if message.role not in ROLES:
            near = OTHER_NAMES.get(message.role.lower())
            near = near or "".join(difflib.get_close_matches(message.role.lower(), ROLES, n=1))
            hint = f"Write `{near}`." if near else "Rename it, or remove the row."
            what = f"message {number} has the role `{message.role}` (known: {', '.join(ROLES)})."
            yield Problem("unknown_role", what, hint)


def _order(messages: Sequence[Message]) -> Iterator[Problem]:
    roles = [message.role for message in messages]
    late = [number for number, role in enumerate(roles, start=1) if role == "system"]
    if late and late[-1] > 1:
        what = f"message {late[-1]} is a system message, and only the first may be one."
        yield Problem("system_not_first", what, "Move it to the front and join it with the first.")
    spoken = [(number, role) for number, role in enumerate(roles, 1) if role != "system"]
    if spoken and spoken[0][1] == "assistant":
        what = f"the assistant speaks first (message {spoken[0][0]})."
        yield Problem("assistant_first", what, "Put the user's message in front of it.")
    for (first, role), (second, next_role) in pairwise(spoken):
        if role == next_role:
            what = f"messages {first} and {second} are both by the {role}."
            yield Problem("same_role_twice", what, "Join them into one message.")


def _targets(conversation: Conversation) -> Iterator[Problem]:
    roles = [message.role for message in conversation.messages]
    if "assistant" not in roles[conversation.completion_from or 0 :]:
        what = "no assistant message, so nothing to learn."
        yield Problem("no_answer", what, "Add the answer, or remove the row.")
    elif not conversation.supervised:
        what = "every assistant message has the weight 0, so nothing to learn."
        yield Problem("nothing_supervised", what, "Give one the weight 1, or remove the row.")
