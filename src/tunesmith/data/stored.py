"""A conversation as bytes and back: how it is kept, and how it gets from process to process."""

from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from tunesmith.data.rows import Conversation

_CONVERSATION = TypeAdapter(Conversation)


def stored(conversation: Conversation) -> bytes:
    """All of a conversation."""
    return _CONVERSATION.dump_json(conversation)


def restored(data: bytes, *, source: str) -> Conversation:
    """The conversation that was stored, its file's name again with that of its source."""
    conversation = _CONVERSATION.validate_json(data)
    return replace(conversation, file=in_source(conversation.file, source))


def behind_source(file: str, source: str) -> str:
    """What a file's name has besides its source's: nothing, or where it stands in a folder."""
    return "" if file == source else file.removeprefix(str(Path(source)))


def in_source(file: str, source: str) -> str:
    """The whole name of a file of which ``behind_source`` left this."""
    return f"{Path(source)}{file}" if file else source
