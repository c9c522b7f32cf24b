"""OpenAI chat rows: {"messages": [{"role", "content", "weight"?, ...}, ...], "tools"?: [...]}.

A system prompt may stand in a column of its own, `system`, as Anthropic's rows have it.
"""

from tunesmith.data.formats.cells import optional_text
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.messages import parse_messages
from tunesmith.data.formats.tools import TOOL_COLUMNS, parse_tools
from tunesmith.data.rows import Message


def parse(row: Row) -> Parsed:
    """Every assistant turn is a target, unless its weight is 0."""
    parsed = Parsed()
    system = optional_text(row, "system", parsed)
    parsed.messages = parse_messages(row["messages"], parsed, column="messages")
    if system:
        parsed.messages.insert(0, Message("system", system))
    parsed.tools = parse_tools(row, parsed)
    return parsed


CHAT = Format(
    name="chat",
    columns={"messages": ("conversations", "conversation", "dialog", "dialogue", "chat")},
    parse=parse,
    example='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}',
    optional=("system", *TOOL_COLUMNS),
)
