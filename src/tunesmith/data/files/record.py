"""What a reader of files gives: one row's values with its line, or why it has none."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.data.faults import Fault, Problem, Remark

MOST_ROW_BYTES = 16 << 20  # a row that is longer is a fault, so that memory stays bounded


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may say of a file that does not say it itself.

    ``encoding`` of text; ``delimiter`` between columns; ``part``: which list of a JSON document,
    sheet of a workbook, member of an archive, split of a folder or hub data set. Without ``header``
    the first row of a table is a row, and columns are called by their place, counted from 0.
    """

    encoding: str = "auto"
    delimiter: str | None = None
    part: str | None = None
    header: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its ``values``, or the ``problem`` that kept it from being read.

    With ``remarks`` alone it tells something about the file; with nothing it is a blank line
    between records. Line 0 stands for the whole file; where there are no lines (Parquet, a sheet)
    it is the row. ``file`` is set where it is not the path that was asked for, ``header`` to the
    line of the row that names the columns, where one does.
    """

    line: int
    values: dict[str, object] | None = None
    problem: Problem | None = None
    remarks: tuple[Remark, ...] = ()
    file: str | None = None
    header: int | None = None

    @property
    def is_blank(self) -> bool:
        """Whether it is a blank line."""
        return self.line > 0 and not self.is_row and not self.remarks

    @property
    def is_row(self) -> bool:
        """Whether it stands for a row, sound or not."""
        return self.line > 0 and (self.values is not None or self.problem is not None)

    def fault(self, file: str) -> Fault | None:
        """The problem in its place, if there is one."""
        return self.problem.at(self.file or file, self.line or None) if self.problem else None


def unused(options: ReadOptions, *names: str) -> Iterator[Remark]:
    """Which of the named options were given, where they have no effect."""
    for name in names:
        if getattr(options, name) != getattr(ReadOptions(), name):
            what = f"--data.{name} has no effect on this file"
            yield Remark("unused_option", what)


def kind_of(value: object) -> str:
    """What a user would call the value: text, a number, a list, ..."""
    names: dict[type, str] = {str: "text", bool: "true or false", dict: "an object", list: "a list"}
    names |= {int: "a number", float: "a number", type(None): "null", bytes: "bytes"}
    return names.get(type(value), type(value).__name__)
