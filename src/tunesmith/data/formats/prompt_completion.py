"""TRL prompt-completion rows: each side is a text or a list of messages; only answers of the
completion are trained."""

from tunesmith.data.formats.cells import ANSWERS, number_as_text
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.messages import parse_messages
from tunesmith.data.formats.preference import unpaired
from tunesmith.data.formats.tools import TOOL_COLUMNS, parse_tools
from tunesmith.data.records import kind_of
from tunesmith.data.rows import Message


def parse(row: Row) -> Parsed:
    """A text prompt is one user message, a text completion one assistant message."""
    parsed = Parsed()
    prompt = parse_side(row["prompt"], parsed, column="prompt", role="user")
    completion = parse_side(row["completion"], parsed, column="completion", role="assistant")
    parsed.messages = prompt + completion
    parsed.completion_from = len(prompt)
    parsed.tools = parse_tools(row, parsed)
    if problem := unpaired(row):
        parsed.problems.append(problem)
    return parsed


def parse_side(value: object, parsed: Parsed, *, column: str, role: str) -> list[Message]:
    """One side's messages: a text is one of ``role``; what is wrong goes into ``parsed``."""
    if isinstance(value, str):
        return [Message(role, value)]
    if column in ANSWERS and (text := number_as_text(value, column, parsed)) is not None:
        return [Message(role, text)]
    if isinstance(value, list):
        return parse_messages(value, parsed, column=column)
    parsed.problem(
        "wrong_type",
        f'"{column}" must be text or a list of messages, this is {kind_of(value)}.',
        remedy="Write it as text.",
    )
    return []


PROMPT_COMPLETION = Format(
    name="prompt-completion",
    columns={
        "prompt": ("question", "query", "instruction", "input", "text", "q", "source", "context"),
        "completion": (
            *("answer", "a", "response", "output", "target", "reply"),
            *("continuation", "summary", "translation", "label"),
        ),
    },
    parse=parse,
    example='{"prompt": "...", "completion": "..."}',
    optional=TOOL_COLUMNS,
)
