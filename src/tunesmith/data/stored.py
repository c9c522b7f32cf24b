"""A conversation as bytes and back: how it is kept, and how it gets from process to process."""

from dataclasses import replace

from pydantic import TypeAdapter

from tunesmith.data.rows import Conversation

_CONVERSATION = TypeAdapter(Conversation)


def stored(conversation: Conversation) -> bytes:
    """All of a conversation."""
    return _CONVERSATION.dump_json(conversation)


def restored(data: bytes, *, source: str) -> Conversation:
    """The conversation that was stored, its file's name behind that of its source."""
    conversation = _CONVERSATION.validate_json(data)
    return replace(conversation, file=source + conversation.file)
