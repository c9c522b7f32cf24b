"""Which inputs a file asks to be answered: rows of any kind, or plain text with one on a line."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from tunesmith.data.faults import Fault, Note, RowNotes, RowReport, refuse
from tunesmith.data.files.source import Broken, Source
from tunesmith.data.files.text import open_text
from tunesmith.data.formats.chats import SHAREGPT, parse_turns
from tunesmith.data.formats.columns import (
    ALPACA,
    MULTIPLE_CHOICE,
    PROMPT_COMPLETION,
    QUERY_RESPONSE,
    parse_side,
)
from tunesmith.data.formats.headings import with_headings
from tunesmith.data.formats.layout import OPENING, TOOL_COLUMNS, Row, opening, renamed, shown
from tunesmith.data.read import BLANK_LINE, check
from tunesmith.data.records import READERS, SAMPLE, chunked, read_records
from tunesmith.data.rows import Conversation, Message, ReadOptions, Record

PROMPT, MESSAGES = "prompt", "messages"
ASKED = (PROMPT, *PROMPT_COMPLETION.columns[PROMPT], MESSAGES)
ANSWERED = ("completion", *PROMPT_COMPLETION.columns["completion"])
ANSWER_SET_ASIDE = ("answer_set_aside", "the answer in the file is not used as an answer")
LAYOUTS = (SHAREGPT, ALPACA, QUERY_RESPONSE, MULTIPLE_CHOICE)
# What headings may name: the answer need not be there.
ASKING = (
    *(
        replace(format, columns={asked: format.columns[asked]})
        for format, asked in (
            (PROMPT_COMPLETION, PROMPT),
            (QUERY_RESPONSE, "query"),
            (ALPACA, "instruction"),
        )
    ),
    MULTIPLE_CHOICE,
)
WHICH = f'Name the one that is "{PROMPT}".'
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


def record_path(rows: Path) -> Path:
    """The file beside distilled rows that says who wrote them, and holds what was drawn."""
    return rows.with_name(f"{rows.stem}.distill.json")


def read_inputs(path: str | Path) -> tuple[list[Input], tuple[Note, ...]]:
    """Every input of a file, and what was noticed; raises FaultyData with all of its faults.

    A `.txt` file has an input on each line; other rows have one in a column that asks. The answer
    of a training row is set aside.
    """
    file, report = str(path), RowReport()
    inputs: list[Input] = []
    readers = {**READERS, **dict.fromkeys((".txt", ".md"), read_text_lines)}
    records = read_records(path, readers=readers)
    first = next(chunked(records, SAMPLE), [])
    rows = [record.values for record in first if record.values is not None]
    columns, several = with_headings(rows, {}, ASKING)
    refuse([replace(problem, remedy=WHICH).at(file, None) for problem in several])
    for record in chain(first, records):
        report.add_faults(filter(None, [record.fault(file)]))
        report.add_notes([BLANK_LINE] if record.is_blank else record.notes, line=record.line)
        if record.values is None:
            continue
        notes = RowNotes(names=columns)
        messages, reference = _asked(renamed(record.values, columns), notes)
        where = record.file or file
        found = notes.problems or check(Conversation((*messages, PLACEHOLDER)))
        report.add_faults(problem.at(where, record.line) for problem in found)
        report.add_notes(notes.notes, line=record.line)
        inputs.append(Input(tuple(messages), where, record.line, reference))
    refuse(report.faults)
    return inputs, report.notes


def read_text_lines(source: Source, options: ReadOptions) -> Iterator[Record]:
    """Plain text: each line that is not blank is a prompt; raises Broken."""
    text = open_text(source, options)
    yield Record(0, notes=text.notes)
    empty = True
    for number, raw in text.lines():
        line = raw if isinstance(raw, Fault) else text.decoded(raw)
        if isinstance(line, Fault):
            yield Record(number, None, line)
        elif line.strip():
            yield Record(number, {PROMPT: line.strip()})
        empty = empty and isinstance(line, str) and not line.strip()
    if empty:
        raise Broken("empty_file", "holds no inputs.", "Write one on each line.")


def _asked(row: Row, notes: RowNotes) -> tuple[list[Message], str | None]:
    """The messages up to the one that is asked, and the answer that the row has, if any.

    The answer of a training row is set aside, and so is one in a column beside what is asked.
    """
    if format := next((format for format in LAYOUTS if format.fits(row)), None):
        conversation = format.read(format.named(row), notes)
        messages, tools, used = list(conversation.messages), conversation.tools, set(row)
    else:
        asked, tools = _column(row, notes), ()
        if asked is None:
            return [], None
        if asked == MESSAGES:
            turns = parse_turns(row, notes, column=MESSAGES, turns=row[MESSAGES])
            messages, used = list(turns.messages), {MESSAGES, "system"}
        else:
            question = parse_side(row[asked], notes, column=asked, role="user")
            messages, used = [*opening(row, notes), *question], {asked, *OPENING}
    if tools or any(message.tool_calls or message.role == "tool" for message in messages):
        what = "the row has tools or calls of them, and an input is asked without tools."
        notes.problem("tools", what, remedy="Remove the row.")
    reference: str | None = None
    if messages and messages[-1].role == "assistant":
        reference = messages.pop().content
    elif others := [n for n in ANSWERED if n not in used and isinstance(row.get(n), str)]:
        used.add(others[0])
        reference = str(row[others[0]])
    if reference is not None:
        notes.note(*ANSWER_SET_ASIDE)
    if unused := [name for name in row if name not in used]:
        notes.note("unused_columns", f"columns not used: {shown(unused)}")
    return messages, reference


def _column(row: Row, notes: RowNotes) -> str | None:
    """The one column that asks; None, with the problem noted, where there is none or several."""
    named = [name for name in ASKED if name in row]
    ours = [name for name in named if name in (PROMPT, MESSAGES)] or named
    if tools := [name for name in TOOL_COLUMNS if row.get(name)]:
        what = f"the row has {', '.join(tools)}, and an input is asked without tools."
        notes.problem("tools", what, remedy="Remove the row.")
    elif not named:
        what = f"no column asks anything (found: {shown(row)})."
        notes.problem("missing_column", what, remedy=f'Name it "{PROMPT}" or "{MESSAGES}".')
    elif len(ours) > 1:
        what = f"{' and '.join(ours)} could each be what is asked."
        notes.problem("ambiguous_columns", what, remedy=WHICH)
    return None if notes.problems else ours[0]
