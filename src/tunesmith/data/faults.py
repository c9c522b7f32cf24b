"""What is wrong with rows, and what was noticed: told by file and line, all of it at once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest

from tunesmith.core.errors import DataError
from tunesmith.core.numbers import many

SHOWN_FAULTS = 20
# What is kept of a file with a million faults: so many of each code, so many lines of each note, so
# many notes of each code (a note may quote the row), so much of a text that quotes one.
LISTED, KINDS, TEXT_CHARACTERS = 1000, 100, 1000


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
    return f"{text[:half]} [{many(left_out, 'character')} left out] {text[-half:]}"


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


@dataclass(frozen=True, slots=True)
class Note:
    """A remark with the number of rows that it is true of, and the lines of the first of them."""

    code: str
    message: str
    count: int
    lines: tuple[int, ...] = ()


class NoteBook:
    """Collects remarks row by row and tells each one once, with its count, in bounded memory."""

    def __init__(self) -> None:
        self._counts: Counter[Remark] = Counter()
        self._lines: dict[Remark, list[int]] = defaultdict(list)
        self._kinds: Counter[str] = Counter()

    def add(self, remarks: Iterable[Remark], *, line: int) -> None:
        """Note that ``remarks`` are true of the row at ``line``."""
        for remark in remarks:
            self._count(remark, 1, (line,))

    def merge(self, notes: Iterable[Note]) -> None:
        """Note what another book holds, of rows that come after those of this one."""
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

    def notes(self) -> tuple[Note, ...]:
        """One note for each remark, in the order in which they first came up."""
        return tuple(
            Note(remark.code, remark.message, count, tuple(self._lines[remark]))
            for remark, count in self._counts.items()
        )


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


class FaultBook:
    """Collects faults in bounded memory: of each code the first are listed, all are counted.

    What is wrong with a whole file is told once, however many of its parts come with it.
    """

    def __init__(self) -> None:
        self._listed: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._unlisted: Counter[str] = Counter()
        self._of_files: set[Fault] = set()

    def add(self, faults: Iterable[Fault]) -> None:
        """Take these faults after those of before."""
        for fault in faults:
            if fault in self._of_files:
                continue
            if fault.line is None:
                self._of_files.add(fault)
            if self._counts[fault.code] < LISTED:
                self._counts[fault.code] += 1
                self._listed.append(fault)
            else:
                self._unlisted[fault.code] += 1

    def merge(self, faults: Faults) -> None:
        """Take what another book holds after what this one does."""
        self.add(faults.listed)
        self._unlisted.update(faults.unlisted)

    def faults(self) -> Faults:
        """Those of whole files first, then by line, as they came."""
        listed = sorted(self._listed, key=lambda fault: fault.line or 0)
        return Faults(tuple(listed), dict(self._unlisted))


class FaultyData(DataError):
    """Rows that cannot be trained on: ``faults`` lists them, the message tells the first of them.

    ``unlisted`` counts by code what is not listed.
    """

    def __init__(self, faults: Sequence[Fault], unlisted: Mapping[str, int] | None = None) -> None:
        self.faults, self.unlisted = list(faults), dict(unlisted or {})
        codes = {fault.code for fault in self.faults}
        told = _told(self.faults, self.unlisted)
        super().__init__(told, code=codes.pop() if len(codes) == 1 else None)


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
    return f"{many(faults.count, 'fault')}: {codes}"


def _told(faults: Sequence[Fault], unlisted: Mapping[str, int]) -> str:
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
