"""Plain text for continued training: {"text": "..."}, all of it trained, without roles."""

from tunesmith.data.formats.cells import needed_text
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.rows import TEXT, Message


def parse(row: Row) -> Parsed:
    """The one message of such a row has the role `text`."""
    parsed = Parsed(completion_from=0)
    parsed.messages = [Message(TEXT, needed_text(row, "text", parsed))]
    return parsed


PLAIN_TEXT = Format(
    name="text",
    columns={"text": ("content", "document", "body", "passage", "response", "output")},
    parse=parse,
    example='{"text": "..."}',
)
