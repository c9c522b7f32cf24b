"""OpenAI chat rows: {"messages": [{"role", "content", "weight"?}, ...]}."""

from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.messages import parse_messages


def parse(row: Row) -> Parsed:
    """Every assistant turn is a target, unless its weight is 0."""
    parsed = Parsed()
    parsed.messages = parse_messages(row["messages"], parsed, column="messages")
    return parsed


CHAT = Format(
    name="chat",
    columns={"messages": ("conversations", "conversation", "dialog", "dialogue", "chat")},
    parse=parse,
    example='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}',
    refused=("tools", "functions"),
)
