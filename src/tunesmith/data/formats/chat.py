"""OpenAI chat rows: {"messages": [{"role", "content", "weight"?, ...}, ...], "tools"?: [...]}."""

from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.messages import parse_messages
from tunesmith.data.formats.tools import TOOL_COLUMNS, parse_tools


def parse(row: Row) -> Parsed:
    """Every assistant turn is a target, unless its weight is 0."""
    parsed = Parsed()
    parsed.messages = parse_messages(row["messages"], parsed, column="messages")
    parsed.tools = parse_tools(row, parsed)
    return parsed


CHAT = Format(
    name="chat",
    columns={"messages": ("conversations", "conversation", "dialog", "dialogue", "chat")},
    parse=parse,
    example='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}',
    optional=TOOL_COLUMNS,
)
