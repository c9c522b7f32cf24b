"""What is wrong with rows, and what was noticed: told by file and line, all of it at once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from tunesmith.counts import many
from tunesmith.errors import DataError

SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a row, before it is known which row."""

    code: str
    message: str
    remedy: str

    def at(self, file: str, line: int | None) -> "Fault":
        """The same, with its place; without a line it concerns the whole file."""
        return Fault(file, line, self.code, self.message, self.remedy)


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
    """A remark with the number of rows that it is true of, and their lines."""

    code: str
    message: str
    count: int
    lines: tuple[int, ...] = ()


class NoteBook:
    """Collects remarks row by row and tells each one once, with its count."""

    def __init__(self) -> None:
        self._lines: dict[Remark, list[int]] = defaultdict(list)

    def add(self, remarks: Iterable[Remark], *, line: int) -> None:
        """Note that ``remarks`` are true of the row at ``line``."""
        for remark in remarks:
            self._lines[remark].append(line)

    def notes(self) -> tuple[Note, ...]:
        """One note for each remark, in the order in which they first came up."""
        return tuple(
            Note(remark.code, remark.message, len(lines), tuple(lines))
            for remark, lines in self._lines.items()
        )


class FaultyData(DataError):
    """Rows that cannot be trained on: ``faults`` holds every one, the message the first of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        codes = {fault.code for fault in self.faults}
        super().__init__(_told(self.faults), code=codes.pop() if len(codes) == 1 else None)


def refuse(faults: Sequence[Fault]) -> None:
    """Raise FaultyData if there is any fault."""
    if faults:
        raise FaultyData(faults)


def _told(faults: Sequence[Fault]) -> str:
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        kinds[fault.code].append(fault)
    by_turns = (fault for turn in zip_longest(*kinds.values()) for fault in turn if fault)
    chosen = Counter(fault.code for fault in islice(by_turns, SHOWN_FAULTS))
    lines = [str(fault) for code, group in kinds.items() for fault in group[: chosen[code]]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"... and {len(faults) - SHOWN_FAULTS} more.")
    if len(faults) > 1:
        counts = ", ".join(f"{len(group)} {code}" for code, group in kinds.items())
        lines.append(f"{many(len(faults), 'fault')}: {counts}.")
    return "\n".join(lines)
