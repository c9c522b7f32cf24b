"""Which conversations a source holds, and every fault in it with its line; one row at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path
from types import MappingProxyType

from tunesmith.config.settings import EMPTY
from tunesmith.core.phrases import nearest
from tunesmith.data.faults import WRITE_OR_DROP, Fault, Note, Parsed, RowNotes, RowReport
from tunesmith.data.formats.chats import OTHER_NAMES, SYNONYMS
from tunesmith.data.formats.columns import PLAIN_TEXT
from tunesmith.data.formats.layout import Format, Row, missing_columns, renamed, shown
from tunesmith.data.formats.table import FORMATS, NO_HEADER, choose_format
from tunesmith.data.records import AUTO, SAMPLE, chunked, read_records
from tunesmith.data.rows import Conversation, Message, ReadOptions, Record, texts_in, texts_of

ROLES = ("system", "user", "assistant", "tool")
# Names that are not read as ours, for a hint; those that are may be in capitals.
NEAR_NAMES = {**SYNONYMS, **OTHER_NAMES, "customer": "user", "agent": "assistant"}


def check(
    conversation: Conversation, columns: Mapping[str, str] = MappingProxyType({})
) -> list[Fault]:
    """Everything that keeps the conversation from being trained on.

    ``columns``: role -> the column in which the last message of that role is, as a user finds it.
    """
    messages = conversation.messages
    if conversation.is_text:
        return list(_texts(conversation, columns))
    problems = [*_texts(conversation, columns), *_unknown_roles(messages)]
    if all(message.role in ROLES for message in messages):
        problems += [*_order(messages), *_results(messages), *_targets(conversation)]
    return problems


def _texts(conversation: Conversation, columns: Mapping[str, str]) -> Iterator[Fault]:
    last = {message.role: number for number, message in enumerate(conversation.messages, start=1)}
    for number, message in enumerate(conversation.messages, start=1):
        # An empty system prompt keeps templates from writing their own.
        may_be_empty = message.tool_calls or message.role in ("system", "tool")
        if not message.content.strip() and not may_be_empty:
            column = columns.get(message.role) if last[message.role] == number else None
            who = f"message {number} ({message.role}) has no content."
            what = f"the column {column} is empty." if column else who
            yield Fault(EMPTY, what, WRITE_OR_DROP)
        yield from _half_characters(texts_of(message), f"message {number} ({message.role}) holds")
    yield from _half_characters(texts_in(conversation.tools), "the tools hold")


def _half_characters(texts: Iterator[str], who: str) -> Iterator[Fault]:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            what = f"{who} half of a surrogate pair at character {error.start + 1}."
            remedy = "Write the whole character: the text was cut or escaped in the middle of one."
            yield Fault("wrong_type", what, remedy)
            return


def _unknown_roles(messages: Sequence[Message]) -> Iterator[Fault]:
    for number, message in enumerate(messages, start=1):
        if message.role not in ROLES:
            role = message.role.lower()
            near = NEAR_NAMES.get(role) or nearest(role, ROLES)
            hint = f"Write `{near}`." if near else "Rename it, or remove the row."
            what = f"message {number} has the role `{message.role}` (known: {', '.join(ROLES)})."
            yield Fault("unknown_role", what, hint)


def _order(messages: Sequence[Message]) -> Iterator[Fault]:
    roles = [message.role for message in messages]
    late = [number for number, role in enumerate(roles, start=1) if role == "system"]
    if late and late[-1] > 1:
        what = f"message {late[-1]} is a system message, and only the first may be one."
        yield Fault("system_not_first", what, "Move it to the front and join it with the first.")
    spoken = [(number, role) for number, role in enumerate(roles, 1) if role != "system"]
    if spoken and spoken[0][1] in ("assistant", "tool"):
        number, role = spoken[0]
        what = f"the {role} speaks first (message {number})."
        yield Fault(f"{role}_first", what, "Put the user's message in front of it.")
    for (first, role), (second, next_role) in pairwise(spoken):
        if role == next_role != "tool":
            what = f"messages {first} and {second} are both by the {role}."
            yield Fault("same_role_twice", what, "Join them into one message.")


def _results(messages: Sequence[Message]) -> Iterator[Fault]:
    """Results without a call, and calls that are followed by something else than a result."""
    called: set[str] = set()
    for number, (before, after) in enumerate(pairwise(messages), start=2):
        if before.role == "assistant":
            called = {call.id for call in before.tool_calls if call.id}
        if after.role == "tool" and before.role not in ("assistant", "tool"):
            what = f"message {number} is the result of a tool, and message {number - 1} is by the "
            remedy = "Put the assistant's call in front of it."
            yield Fault("result_without_call", f"{what}{before.role}.", remedy)
        elif after.role == "tool" and called and (after.tool_call_id or "") not in {*called, ""}:
            what = f"message {number} is the result of the call `{after.tool_call_id}`, which is "
            known = f"none of those before it ({', '.join(sorted(called))})."
            yield Fault("result_without_call", what + known, "Give it the id of its call.")
        if before.tool_calls and after.role != "tool":
            what = f"message {number - 1} calls a tool, and message {number} is not a result of it."
            yield Fault("call_without_result", what, "Add the result, with the role `tool`.")


def _targets(conversation: Conversation) -> Iterator[Fault]:
    roles = [message.role for message in conversation.messages]
    if "assistant" not in roles[conversation.completion_from or 0 :]:
        what = "no assistant message, so nothing to learn."
        yield Fault("no_answer", what, "Add the answer, or remove the row.")
    elif not conversation.supervised:
        what = "every assistant message has the weight 0, so nothing to learn."
        yield Fault("nothing_supervised", what, "Give one the weight 1, or remove the row.")


DROPPED_EMPTY = Note("dropped", f"rows left out by --data.drop {EMPTY}")
NO_SYSTEM_IN_TEXTS = Note(
    "unused_option", "data.system has no effect on texts, which have no roles"
)
BLANK_LINE = Note("blank_line", "blank lines between rows were skipped")


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A source and how to read it: a name in the table of formats or `auto`, columns by our names,
    and what the source does not say itself.

    ``drop_empty``: rows without a question or an answer are dropped, and counted, where they would
    be faults. ``system`` is the system message of conversations without one.
    """

    file: str
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    options: ReadOptions = AUTO
    drop_empty: bool = False
    system: str | None = None

    @property
    def reading(self) -> ReadOptions:
        """The options, with what the map says of a table: columns that it counts have no names."""
        counts = bool(self.columns) and all(map(str.isdecimal, self.columns.values()))
        return replace(self.options, header=not counts)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of a source become rows; without a ``format`` none does.

    ``reason`` is what was seen of the format. The others are those of the request.
    """

    file: str
    format: str | None
    columns: Mapping[str, str]
    reason: str = ""
    drop_empty: bool = False
    system: str | None = None


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a file holds: its sound rows, the faults of the others, and what was noticed.

    ``format`` is None if none was recognized, ``reason`` what was seen of it; ``rows`` counts sound
    and faulty rows. Of faults the first of each code are listed; ``unlisted`` counts the others.
    """

    file: str
    format: str | None
    rows: int
    conversations: tuple[Conversation, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Note, ...]
    reason: str = ""
    unlisted: Mapping[str, int] = field(default_factory=dict)


def scan(
    path: str | Path,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    options: ReadOptions = AUTO,
    limit: int | None = None,
) -> ReadResult:
    """Every conversation of a file, with faults and notes; a faulty row does not raise.

    ``format`` is a name in the table of formats or `auto`; ``columns`` maps our column names to
    the file's; ``options`` say of the file what it does not say itself. All rows are checked; the
    first ``limit`` sound ones are kept, all where it is None.
    """
    return scan_source(SourceRequest(str(path), format, columns or {}, options), limit=limit)


def scan_source(asked: SourceRequest, *, limit: int | None = None) -> ReadResult:
    """The same of a request."""
    layout, faults, records = open_records(asked)
    report, count = RowReport(), 0
    report.add_faults(faults)
    kept: list[Conversation] = []
    for record in records:
        count += record.is_row
        conversation = report.add(parse_record(record, layout))
        if conversation is not None and (limit is None or len(kept) < limit):
            kept.append(conversation)
    faulty, seen = report.faults, (layout.file, layout.format, count, tuple(kept))
    return ReadResult(*seen, faulty.listed, report.notes, layout.reason, faulty.unlisted)


def read_rows(
    asked: SourceRequest,
) -> tuple[Layout, tuple[Fault, ...], Iterator[Parsed[Conversation]]]:
    """The layout of a source, what is wrong with all of it, and its rows one after the other."""
    layout, faults, records = open_records(asked)
    return layout, faults, (parse_record(record, layout) for record in records)


def open_records(asked: SourceRequest) -> tuple[Layout, tuple[Fault, ...], Iterator[Record]]:
    """The layout that the first rows of a source have, why there is none, and all its records."""
    records = read_records(asked.file, asked.reading)
    first = next(chunked(records, SAMPLE), [])
    rows = [record for record in first if record.values is not None]
    values = [record.values for record in rows if record.values is not None]
    header = rows[0].header if rows else None
    choice = choose_format(values, asked.format, asked.columns, is_named=header is not None)
    file, line = (rows[0].file or asked.file, rows[0].line or None) if rows else (asked.file, None)
    faults = tuple(
        problem.at(file, header if problem.code == NO_HEADER else line)
        for problem in choice.problems
    )
    name = choice.format.name if choice.format else None
    layout = Layout(asked.file, name, choice.columns, choice.reason, asked.drop_empty, asked.system)
    no_roles = (NO_SYSTEM_IN_TEXTS,) if asked.system and name == PLAIN_TEXT.name else ()
    noticed = [Record(0, notes=notes)] if (notes := (*choice.notes, *no_roles)) else []
    return layout, faults, chain(noticed, first, records)


def parse_record(record: Record, layout: Layout) -> Parsed[Conversation]:
    """The conversation of a record, or why it is none."""
    noticed = (BLANK_LINE,) if record.is_blank else record.notes
    if record.values is None or layout.format is None:
        fault = record.fault(layout.file)
        return Parsed(None, record.line, (fault,) if fault else (), noticed)
    format, where = FORMATS[layout.format], record.file or layout.file
    notes = RowNotes(names=format.names_in(record.values, layout.columns))
    parsed = _parsed(record.values, format, layout.columns, notes)
    conversation = replace(parsed, file=where, line=record.line)
    problems = notes.problems or check(conversation, _columns_of_roles(format, layout, notes))
    if layout.drop_empty and problems and all(each.code == EMPTY for each in problems):
        return Parsed(None, record.line, (), (*noticed, DROPPED_EMPTY))
    faults = tuple(problem.at(where, record.line) for problem in problems)
    sound = None if problems else with_system_message(conversation, layout.system)
    return Parsed(sound, record.line, faults, (*noticed, *notes.notes))


def _columns_of_roles(format: Format, layout: Layout, notes: RowNotes) -> dict[str, str]:
    """Where columns are mapped to those of a question and its answer: which is whose."""
    asked, *rest = format.columns
    if not layout.columns or not rest:
        return {}
    return {"user": notes.called(asked), "assistant": notes.called(rest[-1])}


def empty_rows(notes: Iterable[Note]) -> int:
    """How many rows were dropped because they are empty, by the notes of a source."""
    return sum(note.count for note in notes if note.message == DROPPED_EMPTY.message)


def with_system_message(conversation: Conversation, system: str | None) -> Conversation:
    """The conversation under a system message, unless it has one, which may be empty."""
    messages = conversation.messages
    if not system or conversation.is_text or messages[0].role == "system":
        return conversation
    first = conversation.completion_from
    return replace(
        conversation,
        messages=(Message("system", system), *messages),
        completion_from=None if first is None else first + 1,
    )


TEXT_ALONE = "Remove the row, or make its text complete without them and empty the column."
OTHER_MEDIA = ("images", "videos", "audios")  # columns that other trainers read


def _parsed(row: Row, format: Format, columns: Mapping[str, str], notes: RowNotes) -> Conversation:
    """The row's messages; what is wrong with its columns is noted as well."""
    given, row = row, format.named(renamed(row, columns) if columns else row)
    if columns or not all(column in row for column in format.columns):
        notes.problems += missing_columns(given, format, columns)
    for column in (each for each in OTHER_MEDIA if row.get(each) and not format.uses(each)):
        what = f"{notes.called(column)} holds {column}, and only text is trained."
        notes.problem("not_text", what, remedy=TEXT_ALONE)
    conversation = Conversation(()) if notes.problems else format.read(row, notes)
    unused = [column for column in row if not format.uses(column)]
    if unused:
        notes.note("unused_columns", f"columns not used: {shown(unused)}")
    return conversation
