"""Rows of a question and an answer in two columns: Alpaca's, and query and response.

An answer in `history` is trained as well, as the tools do that these layouts come from.
"""

from tunesmith.data.formats.cells import needed_text, opening, optional_text
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.tools import TOOL_COLUMNS, parse_tools
from tunesmith.data.rows import Message


def parse_alpaca(row: Row) -> Parsed:
    """The instruction, with the input on the next line, is what the user says."""
    parsed = Parsed()
    messages = opening(row, parsed)
    asked = needed_text(row, "instruction", parsed)
    given = optional_text(row, "input", parsed)
    question = "\n".join(filter(None, (asked, given)))
    answer = needed_text(row, "output", parsed)
    parsed.messages = [*messages, Message("user", question), Message("assistant", answer)]
    parsed.tools = parse_tools(row, parsed)
    return parsed


def parse_query(row: Row) -> Parsed:
    """The query is what the user says, the response is the answer."""
    parsed = Parsed()
    messages = opening(row, parsed)
    query, response = (needed_text(row, column, parsed) for column in ("query", "response"))
    parsed.messages = [*messages, Message("user", query), Message("assistant", response)]
    parsed.tools = parse_tools(row, parsed)
    return parsed


ALPACA = Format(
    name="alpaca",
    columns={"instruction": ("task",), "output": ("response", "answer", "completion")},
    parse=parse_alpaca,
    example='{"instruction": "...", "input": "...", "output": "..."}',
    optional=("input", "history", "system", *TOOL_COLUMNS),
    synonyms={"response": "output", "context": "input"},
)
QUERY_RESPONSE = Format(
    name="query-response",
    columns={"query": ("request", "question"), "response": ("reply", "answer")},
    parse=parse_query,
    example='{"query": "...", "response": "..."}',
    optional=("history", "system", *TOOL_COLUMNS),
    synonyms={"question": "query", "answer": "response"},
    recognises=lambda row: "choices" not in row,
)
