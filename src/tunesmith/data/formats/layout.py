"""What a row format is: the columns it needs, and how its values become messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.rows import Message, Tool

Row = Mapping[str, object]


@dataclass(slots=True)
class Parsed:
    """The messages of a row; with any problem in it they are not to be used."""

    messages: list[Message] = field(default_factory=list)
    tools: tuple[Tool, ...] = ()
    completion_from: int | None = None
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def problem(self, code: str, message: str, *, remedy: str) -> None:
        """Note what is wrong with the row and how to mend it."""
        self.problems.append(Problem(code, message, remedy))


class Parse(Protocol):
    """Turns a row that has the format's columns into messages; never raises for bad values."""

    def __call__(self, row: Row) -> Parsed: ...


@dataclass(frozen=True, slots=True)
class Format:
    """One layout: ``columns`` it must have (our name -> names others give it), and its parser.

    It may have ``optional`` ones. ``refused`` have a meaning that would be lost if they were
    ignored.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    parse: Parse
    example: str
    optional: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    recognises: Callable[[Row], bool] = lambda _: True

    def fits(self, row: Row) -> bool:
        """Whether the row has this layout."""
        return all(column in row for column in self.columns) and self.recognises(row)
