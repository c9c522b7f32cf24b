"""Which system prompt a chat template writes by itself."""

from tunesmith.data.chat_format import (
    ANSWER,
    PROBE,
    QUESTION,
    SYSTEM,
    pattern,
    special_tokens,
    with_system,
)
from tunesmith.data.chat_text import chat_text, given, template_of
from tunesmith.data.tokenizer import Tokenizer


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
    if not found or in_user_turn or not fits:
        return None
    if not (without.startswith(before) and without.endswith(after)):
        return None
    inserted = without[len(before) : len(without) - len(after)]
    return inserted.strip() or _wrapping(tokenizer, before) or None


def _wrapping(tokenizer: Tokenizer, before: str) -> str:
    """What stands before a system message besides its header, which looks like a user's."""
    closing = chat_text(tokenizer, given(PROBE)).rpartition(ANSWER)[2]
    later = chat_text(tokenizer, given([*PROBE, PROBE[0]])).rpartition(ANSWER)[2]
    header = later.partition(QUESTION)[0].removeprefix(closing).replace("user", "system")
    text = before.partition(header)[2] if header in before else before
    return pattern(special_tokens(tokenizer).values()).sub("", text).strip()
