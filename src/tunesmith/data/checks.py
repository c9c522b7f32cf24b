"""Which conversations can be trained on: roles in order, something said, something to learn."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tunesmith.data.faults import Problem
from tunesmith.data.formats.messages import OTHER_NAMES, SYNONYMS
from tunesmith.data.rows import Conversation, Message, texts_in, texts_of

ROLES = ("system", "user", "assistant", "tool")
# Names that are not read as ours, for a hint; those that are may stand in capitals.
NEAR_NAMES = {**SYNONYMS, **OTHER_NAMES, "customer": "user", "agent": "assistant"}


def check(conversation: Conversation) -> list[Problem]:
    """Everything that keeps the conversation from being trained on."""
    messages = conversation.messages
    if conversation.is_text:
        return list(_texts(conversation))
    problems = [*_texts(conversation), *_unknown_roles(messages)]
    if all(message.role in ROLES for message in messages):
        problems += [*_order(messages), *_results(messages), *_targets(conversation)]
    return problems


def _texts(conversation: Conversation) -> Iterator[Problem]:
    for number, message in enumerate(conversation.messages, start=1):
        # An empty system prompt keeps templates from writing their own.
        may_be_empty = message.tool_calls or message.role in ("system", "tool")
        if not message.content.strip() and not may_be_empty:
            what = f"message {number} ({message.role}) has no content."
            yield Problem("empty", what, "Write something, or remove the row.")
        yield from _half_characters(texts_of(message), f"message {number} ({message.role}) holds")
    yield from _half_characters(texts_in(conversation.tools), "the tools hold")


def _half_characters(texts: Iterator[str], who: str) -> Iterator[Problem]:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            yield Problem(
                "wrong_type",
                f"{who} half of a surrogate pair at character {error.start + 1}.",
                "Write the whole character: the text was cut or escaped in the middle of one.",
            )
            return


def _unknown_roles(messages: Sequence[Message]) -> Iterator[Problem]:
    for number, message in enumerate(messages, start=1):
        if message.role not in ROLES:
            near = NEAR_NAMES.get(message.role.lower())
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
    if spoken and spoken[0][1] in ("assistant", "tool"):
        number, role = spoken[0]
        what = f"the {role} speaks first (message {number})."
        yield Problem(f"{role}_first", what, "Put the user's message in front of it.")
    for (first, role), (second, next_role) in pairwise(spoken):
        if role == next_role != "tool":
            what = f"messages {first} and {second} are both by the {role}."
            yield Problem("same_role_twice", what, "Join them into one message.")


def _results(messages: Sequence[Message]) -> Iterator[Problem]:
    """Results without a call, and calls that are followed by something else than a result."""
    called: set[str] = set()
    for (before, after), number in zip(
        pairwise(messages), range(2, len(messages) + 1), strict=True
    ):
        if before.role == "assistant":
            called = {call.id for call in before.tool_calls if call.id}
        if after.role == "tool" and before.role not in ("assistant", "tool"):
            what = f"message {number} is the result of a tool, and message {number - 1} is by the "
            remedy = "Put the assistant's call in front of it."
            yield Problem("result_without_call", f"{what}{before.role}.", remedy)
        elif after.role == "tool" and called and (after.tool_call_id or "") not in {*called, ""}:
            what = f"message {number} is the result of the call `{after.tool_call_id}`, which is "
            known = f"none of those before it ({', '.join(sorted(called))})."
            yield Problem("result_without_call", what + known, "Give it the id of its call.")
        if before.tool_calls and after.role != "tool":
            what = f"message {number - 1} calls a tool, and message {number} is no result of it."
            yield Problem("call_without_result", what, "Add the result, with the role `tool`.")


def _targets(conversation: Conversation) -> Iterator[Problem]:
    roles = [message.role for message in conversation.messages]
    if "assistant" not in roles[conversation.completion_from or 0 :]:
        what = "no assistant message, so nothing to learn."
        yield Problem("no_answer", what, "Add the answer, or remove the row.")
    elif not conversation.supervised:
        what = "every assistant message has the weight 0, so nothing to learn."
        yield Problem("nothing_supervised", what, "Give one the weight 1, or remove the row.")
