"""Problems and notes of rows: collected with file and line, and reported all at once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Generic, TypeVar

from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize

SHOWN_FAULTS = 20
# What is kept of a file with a million faults: so many of each code, so many lines of each note, so
# many notes of each code (a note may quote the row), so much of a text that quotes one.
LISTED, KINDS, TEXT_CHARACTERS = 1000, 100, 1000
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a row, before it is known which row."""

    code: str
    message: str
    remedy: str

    def at(self, file: str, line: int | None) -> "Fault":
        """The same, with its place; without a line it concerns the whole file."""
        return Fault(file, line, self.code, _shortened(self.message), _shortened(self.remedy))


def _shortened(text: str) -> str:
    """A text that quotes a row or a library, in one line, without what a user would not read.

    Half of a surrogate pair, which no file or terminal takes, is written as JSON has it.
    """
    text = text.replace("\n", " ")
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    left_out = len(text) - TEXT_CHARACTERS
    if left_out <= 0:
        return text
    half = TEXT_CHARACTERS // 2
    return f"{text[:half]} [{pluralize(left_out, 'character')} left out] {text[-half:]}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem in its place: why a run would refuse this row, and the way out."""

    file: str
    line: int | None
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message} {self.remedy}".rstrip()


@dataclass(frozen=True, slots=True)
class Remark:
    """Something noticed in a row that does not stop a run."""

    code: str
    message: str


@dataclass(slots=True)
class RowNotes:
    """Collects what is wrong with one row, and what was noticed in it."""

    problems: list[Problem] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def problem(self, code: str, message: str, *, remedy: str) -> None:
        """What is wrong with the row, and how to fix it."""
        self.problems.append(Problem(code, message, remedy))

    def remark(self, code: str, message: str) -> None:
        """Something noticed, once for a row."""
        if (remark := Remark(code, message)) not in self.remarks:
            self.remarks.append(remark)


@dataclass(frozen=True, slots=True)
class Note:
    """A remark with the number of rows that it is true of, and the lines of the first of them."""

    code: str
    message: str
    count: int
    lines: tuple[int, ...] = ()


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
    """What a row became: its ``value``, or the faults that kept it from that; and remarks."""

    value: Value | None = None
    line: int = 0
    faults: tuple[Fault, ...] = ()
    remarks: tuple[Remark, ...] = ()


class RowReport:
    """Collects faults and remarks row by row, in bounded memory: the first are listed, all counted.

    What is wrong with a whole file is reported once, however many of its parts come with it; so is
    each remark, with the number of its rows.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._listed: Counter[str] = Counter()
        self._unlisted: Counter[str] = Counter()
        self._of_files: set[Fault] = set()
        self._counts: Counter[Remark] = Counter()
        self._lines: dict[Remark, list[int]] = defaultdict(list)
        self._kinds: Counter[str] = Counter()

    def add(self, outcome: Parsed[Value]) -> Value | None:
        """Take what is said of the next row; its value comes back."""
        self.add_faults(outcome.faults)
        self.add_remarks(outcome.remarks, line=outcome.line)
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

    def add_remarks(self, remarks: Iterable[Remark], *, line: int) -> None:
        """Take what is true of the row at ``line``."""
        for remark in remarks:
            self._count(remark, 1, (line,))

    def merge(self, faults: Faults, notes: Iterable[Note] = ()) -> None:
        """Take what another report holds of rows that come after those of this one."""
        self.add_faults(faults.listed)
        self._unlisted.update(faults.unlisted)
        for note in notes:
            self._count(Remark(note.code, note.message), note.count, note.lines)

    def _count(self, remark: Remark, count: int, lines: Sequence[int]) -> None:
        if remark not in self._counts:
            if self._kinds[remark.code] >= KINDS:
                remark = Remark(remark.code, f"and others of the kind `{remark.code}`")
            else:
                remark = Remark(remark.code, _shortened(remark.message))
            self._kinds[remark.code] += remark not in self._counts
        self._counts[remark] += count
        listed = self._lines[remark]
        listed += lines[: LISTED - len(listed)]

    @property
    def faults(self) -> Faults:
        """Those of whole files first, then by line, as they came."""
        listed = sorted(self._faults, key=lambda fault: fault.line or 0)
        return Faults(tuple(listed), dict(self._unlisted))

    @property
    def notes(self) -> tuple[Note, ...]:
        """One note for each remark, in the order in which they first came up."""
        return tuple(
            Note(remark.code, remark.message, count, tuple(self._lines[remark]))
            for remark, count in self._counts.items()
        )


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


def _message(faults: Sequence[Fault], unlisted: Mapping[str, int]) -> str:
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        kinds[fault.code].append(fault)
    by_turns = (fault for turn in zip_longest(*kinds.values()) for fault in turn if fault)
    chosen = Counter(fault.code for fault in islice(by_turns, SHOWN_FAULTS))
    lines = [str(fault) for code, group in kinds.items() for fault in group[: chosen[code]]]
    everything = Faults(tuple(faults), unlisted)
    if everything.count > len(lines):
        lines.append(f"... and {everything.count - len(lines):,} more.")
    if everything.count > 1:
        lines.append(f"{counted(everything)}.")
    return "\n".join(lines)
