"""Which inputs a file asks to be answered: rows of any kind, or plain text with one on a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.faults import Fault, Note, NoteBook, Problem, Remark, refuse
from tunesmith.data.files.source import Broken, Source
from tunesmith.data.files.text import open_text
from tunesmith.data.formats.chats import SHAREGPT
from tunesmith.data.formats.columns import (
    ALPACA,
    MULTIPLE_CHOICE,
    PROMPT_COMPLETION,
    QUERY_RESPONSE,
    parse_side,
)
from tunesmith.data.formats.layout import TOOL_COLUMNS, Parsed, Row
from tunesmith.data.formats.table import shown
from tunesmith.data.read import BLANK_LINE, check
from tunesmith.data.records import READERS, ReadOptions, Record, read_records
from tunesmith.data.rows import Conversation, Message

PROMPT, MESSAGES = "prompt", "messages"
ASKED = (PROMPT, *PROMPT_COMPLETION.columns[PROMPT], MESSAGES)
ANSWERED = ("completion", *PROMPT_COMPLETION.columns["completion"])
ANSWER_SET_ASIDE = Remark("answer_set_aside", "the answer in the file is not used as an answer")
LAYOUTS = (SHAREGPT, ALPACA, QUERY_RESPONSE, MULTIPLE_CHOICE)
PLACEHOLDER = Message("assistant", "-")


@dataclass(frozen=True, slots=True)
class Input:
    """What is asked, the user's message last; ``reference`` is the answer that the file has."""

    messages: tuple[Message, ...]
    file: str
    line: int
    reference: str | None = None

    @property
    def text(self) -> str:
        """What is asked last."""
        return self.messages[-1].content


def read_inputs(path: str | Path) -> tuple[list[Input], tuple[Note, ...]]:
    """Every input of a file, and what was noticed; raises FaultyData with all of its faults.

    A `.txt` file has an input on each line; other rows have one in a column that asks. The answer
    of a training row is set aside.
    """
    file, book = str(path), NoteBook()
    inputs: list[Input] = []
    faults: list[Fault] = []
    readers = {**READERS, **dict.fromkeys((".txt", ".md"), read_text_lines)}
    for record in read_records(path, readers=readers):
        faults += [fault] if (fault := record.fault(file)) else []
        book.add([BLANK_LINE] if record.is_blank else record.remarks, line=record.line)
        if record.values is None:
            continue
        parsed, reference = _parsed(record.values)
        found = parsed.problems or _problems(parsed.messages)
        where = record.file or file
        faults += [problem.at(where, record.line) for problem in found]
        book.add(parsed.remarks, line=record.line)
        inputs.append(Input(tuple(parsed.messages), where, record.line, reference))
    refuse(faults)
    return inputs, book.notes()


def read_text_lines(source: Source, options: ReadOptions) -> Iterator[Record]:
    """Plain text: each line that is not blank is a prompt; raises Broken."""
    text = open_text(source, options)
    yield Record(0, remarks=text.remarks)
    empty = True
    for number, raw in text.lines():
        line = raw if isinstance(raw, Problem) else text.decoded(raw)
        if isinstance(line, Problem):
            yield Record(number, None, line)
        elif line.strip():
            yield Record(number, {PROMPT: line.strip()})
        empty = empty and isinstance(line, str) and not line.strip()
    if empty:
        raise Broken("empty_file", "holds no inputs.", "Write one on each line.")


def _parsed(row: Row) -> tuple[Parsed, str | None]:
    """The messages up to the one that is asked, and the answer that the row has, if any."""
    if format := next((format for format in LAYOUTS if format.fits(row)), None):
        return _set_aside(format.parse(format.named(row)))
    parsed = Parsed()
    asked = _column(row, parsed)
    if asked is None:
        return parsed, None
    parsed.messages = parse_side(row[asked], parsed, column=asked, role="user")
    _refuse_calls(parsed)
    reference: str | None = None
    used = {asked}
    if parsed.messages and parsed.messages[-1].role == "assistant":
        reference = parsed.messages.pop().content
    elif column := next((name for name in ANSWERED if isinstance(row.get(name), str)), None):
        used.add(column)
        reference = str(row[column])
    if reference is not None:
        parsed.remarks.append(ANSWER_SET_ASIDE)
    if unused := [name for name in row if name not in used]:
        parsed.remarks.append(Remark("unused_columns", f"columns not used: {shown(unused)}"))
    return parsed, reference


def _set_aside(parsed: Parsed) -> tuple[Parsed, str | None]:
    """A training row up to its last answer, and that answer."""
    _refuse_calls(parsed)
    if not parsed.messages or parsed.messages[-1].role != "assistant":
        return parsed, None
    parsed.remarks.append(ANSWER_SET_ASIDE)
    return parsed, parsed.messages.pop().content


def _refuse_calls(parsed: Parsed) -> None:
    calls = any(message.tool_calls or message.role == "tool" for message in parsed.messages)
    if parsed.tools or calls:
        what = "the row has tools or calls of them, and an input is asked without tools."
        parsed.problem("tools", what, remedy="Remove the row.")


def _column(row: Row, parsed: Parsed) -> str | None:
    """The one column that asks; None, with the problem noted, where there is none or several."""
    named = [name for name in ASKED if name in row]
    ours = [name for name in named if name in (PROMPT, MESSAGES)] or named
    if tools := [name for name in TOOL_COLUMNS if row.get(name)]:
        what = f"the row has {', '.join(tools)}, and an input is asked without tools."
        parsed.problem("tools", what, remedy="Remove the row.")
    elif not named:
        what = f"no column asks anything (found: {shown(row)})."
        parsed.problem("missing_column", what, remedy=f'Name it "{PROMPT}" or "{MESSAGES}".')
    elif len(ours) > 1:
        what = f"{' and '.join(ours)} could each be what is asked."
        parsed.problem("ambiguous_columns", what, remedy=f'Name the one that is "{PROMPT}".')
    return None if parsed.problems else ours[0]


def _problems(messages: Sequence[Message]) -> list[Problem]:
    """What would keep the messages from being trained on once they are answered."""
    return check(Conversation((*messages, PLACEHOLDER), "", 0))
