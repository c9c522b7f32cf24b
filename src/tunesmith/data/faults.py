"""Problems and notes of rows: collected with file and line, and reported all at once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Generic, TypeVar

from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize

SHOWN_CAUSES, SHOWN_LINES = 20, 5
# What is kept of a file with a million faults: so many of each code, so many lines of each note, so
# many notes of each code (a note may quote the row), so much of a text that quotes one.
LISTED, KINDS, TEXT_CHARACTERS = 1000, 100, 1000
Value = TypeVar("Value")
WRITE_OR_DROP = "Write something, remove the row, or drop all such rows: --data.drop empty."
READ_AS_STRUCTURE = (
    "Remove it, or write it in another way: the model would read it as the structure of the "
    "conversation. With --data.control_tokens text it is read as plain text, as it is when the "
    "model is asked."
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a run would refuse a row, and how to fix it; a check of a row leaves the place to others.

    Without a ``line`` it concerns the whole file.
    """

    code: str
    message: str
    remedy: str
    file: str = ""
    line: int | None = None

    def at(self, file: str, line: int | None) -> "Fault":
        """The same with its file and line, its texts shortened."""
        message, remedy = _shortened(self.message), _shortened(self.remedy)
        return Fault(self.code, message, remedy, file, line)

    def __repr__(self) -> str:  # part of the checksum of cached tokens, of earlier versions too
        place = f"file={self.file!r}, line={self.line!r}, code={self.code!r}"
        return f"Fault({place}, message={self.message!r}, remedy={self.remedy!r})"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message} {self.remedy}".rstrip()


def _shortened(text: str) -> str:
    """A text that quotes a row or a library, in one line, without what a user would not read.

    Half of a surrogate pair, which no file or terminal takes, is written as JSON has it.
    """
    text = text.replace("\n", " ").encode("utf-8", "backslashreplace").decode("utf-8")
    left_out = len(text) - TEXT_CHARACTERS
    if left_out <= 0:
        return text
    half = TEXT_CHARACTERS // 2
    return f"{text[:half]} [{pluralize(left_out, 'character')} left out] {text[-half:]}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something noticed that does not stop a run: in how many rows, and the lines of the first.

    ``held`` are the held-out rows that it is about besides.
    """

    code: str
    message: str
    count: int = 1
    lines: tuple[int, ...] = ()
    held: int = 0

    def text(self) -> str:
        """The message, and of how many rows it is true."""
        return f"{self.message} ({pluralize(self.count, 'row')})"


@dataclass(slots=True)
class RowNotes:
    """Collects what is wrong with one row, and what was noticed in it.

    ``names``: our column -> what the file calls it, where that is another name.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    problems: list[Fault] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def called(self, column: str) -> str:
        """A column of ours as a user finds it: `"completion"`, `"답변" (completion)`."""
        theirs = self.names.get(column, column)
        return f'"{theirs}"' if theirs == column else f'"{theirs}" ({column})'

    def problem(self, code: str, message: str, *, remedy: str) -> None:
        """What is wrong with the row, and how to fix it."""
        self.problems.append(Fault(code, message, remedy))

    def note(self, code: str, message: str) -> None:
        """Something noticed, once for a row."""
        if (note := Note(code, message)) not in self.notes:
            self.notes.append(note)


@dataclass(frozen=True, slots=True)
class Faults:
    """The first faults of each code by file and line, and how many more there are of which code."""

    listed: tuple[Fault, ...] = ()
    unlisted: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.listed)

    @property
    def count(self) -> int:
        """All of them."""
        return len(self.listed) + sum(self.unlisted.values())


@dataclass(frozen=True, slots=True)
class Parsed(Generic[Value]):
    """What a row became: its ``value``, or the faults that kept it from that; and notes."""

    value: Value | None = None
    line: int = 0
    faults: tuple[Fault, ...] = ()
    notes: tuple[Note, ...] = ()


class RowReport:
    """Collects faults and notes row by row, in bounded memory: the first are listed, all counted.

    What is wrong with a whole file is reported once, however many of its parts come with it; so is
    each note, with the number of its rows.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._listed: Counter[str] = Counter()
        self._unlisted: Counter[str] = Counter()
        self._of_files: set[Fault] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lines: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._kinds: Counter[str] = Counter()

    def add(self, outcome: Parsed[Value]) -> Value | None:
        """Take what is said of the next row; its value comes back."""
        self.add_faults(outcome.faults)
        self.add_notes(outcome.notes, line=outcome.line)
        return outcome.value

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Take these faults after those of before."""
        for fault in faults:
            if fault in self._of_files:
                continue
            if fault.line is None:
                self._of_files.add(fault)
            if self._listed[fault.code] < LISTED:
                self._listed[fault.code] += 1
                self._faults.append(fault)
            else:
                self._unlisted[fault.code] += 1

    def add_notes(self, notes: Iterable[Note], *, line: int) -> None:
        """Take what is true of the row at ``line``."""
        self.merge(Faults(), (Note(note.code, note.message, 1, (line,)) for note in notes))

    def merge(self, faults: Faults, notes: Iterable[Note] = ()) -> None:
        """Take what another report holds of rows that come after those of this one."""
        self.add_faults(faults.listed)
        self._unlisted.update(faults.unlisted)
        for note in notes:
            code, message = note.code, note.message
            if (code, message) not in self._counts:
                is_new = self._kinds[code] < KINDS
                message = _shortened(message) if is_new else f"and others of the kind `{code}`"
                self._kinds[code] += (code, message) not in self._counts
            self._counts[code, message] += note.count
            listed = self._lines[code, message]
            listed += note.lines[: LISTED - len(listed)]

    @property
    def faults(self) -> Faults:
        """Those of whole files first, then by line, as they came."""
        listed = sorted(self._faults, key=lambda fault: fault.line or 0)
        return Faults(tuple(listed), dict(self._unlisted))

    @property
    def notes(self) -> tuple[Note, ...]:
        """Every note once, in the order in which they first came up."""
        return tuple(Note(*k, count, tuple(self._lines[k])) for k, count in self._counts.items())


class FaultyData(DataError):
    """Rows that cannot be trained on: ``faults`` lists them, the message tells the first of them.

    ``unlisted`` counts by code what is not listed.
    """

    def __init__(self, faults: Sequence[Fault], unlisted: Mapping[str, int] | None = None) -> None:
        self.faults, self.unlisted = list(faults), dict(unlisted or {})
        codes = {fault.code for fault in self.faults}
        message = _message(self.faults, self.unlisted)
        super().__init__(message, code=codes.pop() if len(codes) == 1 else None)


def refuse(faults: Sequence[Fault] | Faults) -> None:
    """Raise FaultyData if there is any fault."""
    found = faults if isinstance(faults, Faults) else Faults(tuple(faults))
    if found:
        raise FaultyData(found.listed, found.unlisted)


def counted(faults: Faults) -> str:
    """`2,003 faults: 2,000 empty, 3 control_tokens`."""
    counts = Counter(fault.code for fault in faults.listed)
    counts.update(faults.unlisted)
    codes = ", ".join(f"{count:,} {code}" for code, count in counts.items())
    return f"{pluralize(faults.count, 'fault')}: {codes}"


def causes(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Faults of a file with the same words, together."""
    found: dict[tuple[str, ...], list[Fault]] = defaultdict(list)
    for fault in faults:
        found[fault.code, fault.file, fault.message, fault.remedy].append(fault)
    return list(found.values())


def cause_text(alike: Sequence[Fault]) -> str:
    """A fault, and the lines that others with the same words are at."""
    first, *others = alike
    if first.line is None or not others:
        return str(first)
    lines = ", ".join(f"{each.line}" for each in alike[:SHOWN_LINES])
    more = len(alike) - SHOWN_LINES
    place = f"{first.file}:{lines}{f' (+{more:,})' if more > 0 else ''}"
    return f"{place}: {first.message} {first.remedy}".rstrip()


def _message(faults: Sequence[Fault], unlisted: Mapping[str, int]) -> str:
    kinds: dict[str, list[list[Fault]]] = defaultdict(list)
    for cause in causes(faults):
        kinds[cause[0].code].append(cause)
    by_turns = (cause for turn in zip_longest(*kinds.values()) for cause in turn if cause)
    chosen = Counter(cause[0].code for cause in islice(by_turns, SHOWN_CAUSES))
    shown = [cause for code, group in kinds.items() for cause in group[: chosen[code]]]
    lines, everything = [*map(cause_text, shown)], Faults(tuple(faults), unlisted)
    if (left := everything.count - sum(map(len, shown))) > 0:
        lines.append(f"... and {left:,} more.")
    if everything.count > 1:
        lines.append(f"{counted(everything)}.")
    return "\n".join(lines)
