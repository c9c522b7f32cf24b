"""What a row format is: its columns under our names and the user's, and how values are read."""

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tunesmith.core.phrases import counted, nearest
from tunesmith.data.faults import WRITE_OR_DROP, Fault, RowNotes
from tunesmith.data.rows import (
    Conversation,
    Message,
    Tool,
    ToolCall,
    is_of_a_list,
    kind_of,
    not_an_object,
)

Row = Mapping[str, object]


class Parse(Protocol):
    """Turns a row that has the format's columns into messages; never raises for bad values.

    What is wrong goes into the notes; then the conversation is not to be used.
    """

    def __call__(self, row: Row, notes: RowNotes) -> Conversation: ...


@dataclass(frozen=True, slots=True)
class Format:
    """One layout: ``columns`` it must have (our name -> names others give it), and its parser.

    It may have ``optional`` ones, and any under another name of the same meaning (``synonyms``:
    theirs -> ours). ``recognizes`` is asked of a row that has all columns.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    parse: Parse
    optional: tuple[str, ...] = ()
    recognizes: Callable[[Row], bool] = lambda _: True
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def fits(self, row: Row) -> bool:
        """Whether the row has this layout."""
        named = self.named(row)
        has_all = all(named.get(column) is not None for column in self.columns)
        return has_all and self.recognizes(named)

    def uses(self, column: str) -> bool:
        """Whether it is a column of this layout."""
        return column in self.columns or column in self.optional

    def named(self, row: Row) -> Row:
        """The row under our names of the columns; a synonym counts where ours is not there."""
        theirs = [name for name in self.synonyms if name in row]
        if not theirs:
            return row
        ours = {name: self.synonyms[name] for name in theirs if self.synonyms[name] not in row}
        return {ours.get(name, name): value for name, value in row.items()}

    def names_in(self, row: Row, columns: Mapping[str, str]) -> dict[str, str]:
        """Our column -> its name in the row, by the map or as a synonym, where that is another."""
        synonyms = {ours: theirs for theirs, ours in self.synonyms.items() if theirs in row}
        return {ours: name for ours, name in synonyms.items() if ours not in row} | dict(columns)

    def read(self, row: Row, notes: RowNotes) -> Conversation:
        """The conversation of a row under our names, with its tools."""
        conversation = self.parse(row, notes)
        tools = parse_tools(row, notes) if TOOL_COLUMNS[0] in self.optional else ()
        return replace(conversation, tools=tools) if tools else conversation


ANSWERS = ("completion", "output", "response")


def optional_text(row: Row, column: str, notes: RowNotes) -> str:
    """The text of a column; "" where there is none, or where it is no text, which is noted."""
    value = row.get(column)
    if value is None or isinstance(value, str):
        return value or ""
    what = f"{notes.called(column)} must be text, this is {kind_of(value)}."
    notes.problem("wrong_type", what, remedy="Write it as text, or leave it out.")
    return ""


def needed_text(row: Row, column: str, notes: RowNotes) -> str:
    """The text of a column that must have one; what is wrong goes into ``notes``."""
    value = row[column]
    if isinstance(value, str):
        return value
    if note_if_missing(value, notes.called(column), notes):
        return ""
    if column in ANSWERS and (text := number_as_text(value, column, notes)) is not None:
        return text
    what = f"{notes.called(column)} must be text, this is {kind_of(value)}."
    notes.problem("wrong_type", what, remedy="Write it as text.")
    return ""


def note_if_missing(value: object, place: str, notes: RowNotes) -> bool:
    """Whether a cell holds nothing (null, or pandas' NaN), which is then a problem of the row."""
    is_missing = value is None or (isinstance(value, float) and math.isnan(value))
    if is_missing:
        notes.problem("empty", f"{place} holds nothing (null).", remedy=WRITE_OR_DROP)
    return is_missing


def number_as_text(value: object, column: str, notes: RowNotes) -> str | None:
    """The text of a number that is an answer, such as a label or a rating; it is reported.

    A whole number in a column of decimals (which is how pandas saves a column with a gap) has no
    point. None for what is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    notes.note("numbers_as_text", f"numbers in {notes.called(column)} are read as their text")
    return str(int(value)) if value == int(value) else str(value)


def as_list(value: object) -> object:
    """The value, or the list that it holds as JSON: a table has texts only."""
    is_json = isinstance(value, str) and value.lstrip().startswith("[")
    return from_text(value) if is_json else value


OPENING = ("history", "system")


def opening(row: Row, notes: RowNotes) -> list[Message]:
    """The system prompt and the turns of `history`, as far as the row has them."""
    system = optional_text(row, "system", notes)
    messages = [Message("system", system)] if system else []
    history = as_list(row.get("history"))
    if history is None or history == "":
        return messages
    if not isinstance(history, list):
        what = f"{notes.called('history')} must be a list of pairs, this is {kind_of(history)}."
        notes.problem("wrong_type", what, remedy='Write it as [["question", "answer"], ...].')
        return messages
    for number, pair in enumerate(history, start=1):
        if isinstance(pair, dict) and {"role", "content"} <= pair.keys():
            messages.append(Message(str(pair["role"]), str(pair["content"])))
            continue
        is_pair = isinstance(pair, list | tuple) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            what = f'turn {number} of "history" is not a pair of texts.'
            notes.problem("wrong_type", what, remedy='Write it as ["question", "answer"].')
            continue
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    return messages


TOOL_COLUMNS = ("tools", "functions")  # functions: OpenAI's older name, without a wrapper
MAX_DEPTH = 64
TOOL_SHAPE = (
    'Write a tool as {"type": "function", "function": {"name": "...", "parameters": {...}}}.'
)
CALL_SHAPE = (
    'Write a call as {"id": "...", "type": "function", "function": {"name": "...", '
    '"arguments": {...}}}.'
)


def parse_tools(row: Row, notes: RowNotes) -> tuple[Tool, ...]:
    """The tools that a row offers; what is wrong with them goes into ``notes``."""
    tools: list[Tool] = []
    for column in TOOL_COLUMNS:
        value = from_text(row.get(column))
        if not value:
            continue
        if not isinstance(value, list):
            what = f"{notes.called(column)} must be a list of tools, this is {kind_of(value)}."
            notes.problem("wrong_type", what, remedy=TOOL_SHAPE)
            continue
        for number, item in enumerate(value, start=1):
            tool = _tool(item, notes, place=f"tool {number} of {notes.called(column)}")
            tools += [] if tool is None else [tool]
    return tuple(tools)


def _function(
    value: object, notes: RowNotes, *, place: str, shape: str
) -> dict[str, object] | None:
    """The object that names the function of a tool or a call; None, with the problem noted."""
    function = value.get("function", value) if isinstance(value, dict) else value
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return function
    what = f"{place} is not an object with the name of a function."
    notes.problem("wrong_type", what, remedy=shape)
    return None


def _tool(value: object, notes: RowNotes, *, place: str) -> Tool | None:
    function = _function(value, notes, place=place, shape=TOOL_SHAPE)
    if function is None or _is_unfit(function, notes, place=place):
        return None
    wrapper = value if isinstance(value, dict) and "function" in value else {}
    return {"type": "function", **wrapper, "function": function}


def parse_calls(message: Mapping[str, object], notes: RowNotes, *, place: str) -> list[ToolCall]:
    """The calls of a message; what is wrong with them goes into ``notes``."""
    value = from_text(message.get("tool_calls")) or []
    if not isinstance(value, list):
        what = f"the tool_calls of {place} must be a list, this is {kind_of(value)}."
        notes.problem("wrong_type", what, remedy=CALL_SHAPE)
        return []
    older = message.get("function_call")
    values = [*value, *([] if older is None else [older])]
    calls = (
        _call(item, notes, place=f"call {number} of {place}")
        for number, item in enumerate(values, start=1)
    )
    return [call for call in calls if call is not None]


def _call(value: object, notes: RowNotes, *, place: str) -> ToolCall | None:
    function = _function(value, notes, place=place, shape=CALL_SHAPE)
    if function is None:
        return None
    arguments = from_text(function.get("arguments") or {})
    if not isinstance(arguments, dict):
        what = f"the arguments of {place} must be a JSON object, these are {kind_of(arguments)}."
        notes.problem("wrong_arguments", what, remedy=CALL_SHAPE)
        return None
    if _is_unfit(arguments, notes, place=f"the arguments of {place}"):
        return None
    given = value.get("id") if isinstance(value, dict) else None
    return ToolCall(str(function["name"]), arguments, given if isinstance(given, str) else None)


def from_text(value: object) -> object:
    """The value of JSON in a text, such as OpenAI's arguments; other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        return value


def _is_unfit(value: object, notes: RowNotes, *, place: str) -> bool:
    """Whether a value is nested deeper than templates can write, or holds what JSON has no word
    for, with the problem noted.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        if odd := [each for each in level if isinstance(each, float) and not math.isfinite(each)]:
            what = f"{place} must be JSON, which has no number {odd[0]}."
            notes.problem("wrong_type", what, remedy="Write a finite number, a text or null.")
            return True
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    what = f"{place} is nested more than {MAX_DEPTH} levels deep."
    notes.problem("wrong_type", what, remedy="Write it flatter, or remove the row.")
    return True


FLAG = "--data.map"
NEAR = 0.7


def flag(ours: str, theirs: str) -> str:
    """The words of a command that map a column, as a shell takes them."""
    return f"{FLAG} {shlex.quote(f'{ours}={theirs}')}"


def flags(columns: Mapping[str, str]) -> str:
    """The words that map all of these."""
    return " ".join(flag(ours, theirs) for ours, theirs in columns.items())


def shown(columns: Iterable[str]) -> str:
    """Column names for a message, the first few of many."""
    return counted(columns) or "no columns"


def meaning(name: str, format: Format) -> str | None:
    """The format's own column that a name means; None where it knows no such name."""
    if format.uses(name):
        return name
    if name in format.synonyms:
        return format.synonyms[name]
    return next((ours for ours, others in format.columns.items() if name in others), None)


def resolved(columns: Mapping[str, str], format: Format) -> dict[str, str] | None:
    """The map under the format's own names; None where one is not known, or two are the same."""
    own = {meaning(ours, format): theirs for ours, theirs in columns.items()}
    if None in own or len(own) < len(columns):
        return None
    return {str(ours): theirs for ours, theirs in own.items()}


def familiarity(columns: Mapping[str, str], format: Format) -> int:
    """How many of the names are the format's own or synonyms of them in its rows."""
    return sum(format.uses(ours) or ours in format.synonyms for ours in columns)


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row under our names; a mapped column hides one that has our name already."""
    gone = {*columns, *columns.values()}
    rest = {name: value for name, value in row.items() if name not in gone}
    return rest | {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}


def probable(column: str, found: Iterable[str], format: Format) -> str | None:
    """The found column that was probably meant by a format's own; None without a near one."""
    lowered = {name.lower(): name for name in found}
    names = (column, *format.columns[column])
    known = (name for name in names if name in lowered)
    near = next(known, None) or nearest(column, lowered, cutoff=0.75)
    return lowered[near] if near else None


def missing_columns(row: Row, format: Format, columns: Mapping[str, str]) -> list[Fault]:
    """One problem for each column that the format needs and the row lacks; ``columns`` are mapped.

    The row has the names that it has in its file.
    """
    if is_of_a_list(row) and not any(theirs in row for theirs in columns.values()):
        return [not_an_object(list(row.values()))]
    left = {name: value for name, value in row.items() if name not in columns.values()}
    free = [name for name in left if not format.uses(name)]
    here = {*format.named(left), *(ours for ours, theirs in columns.items() if theirs in row)}
    problems = []
    for column in format.columns:
        theirs = columns.get(column)
        if column in here and (theirs is None or theirs in row):
            continue
        near = None if theirs else probable(column, free, format)
        what = f'"{theirs}", which is mapped to "{column}",' if theirs else f'"{column}"'
        message = f"{what} is missing (found: {shown(row)})."
        remedy = f"Add it, or map it with {flag(column, near)}." if near else "Add it."
        problems.append(Fault("missing_column", message, remedy))
    return problems
