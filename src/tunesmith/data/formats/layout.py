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

    It may have ``optional`` ones, and any under another name of the same meaning (``synonyms``:
    theirs -> ours). ``refused`` have a meaning that would be lost if they were ignored.
    ``refusal`` is why rows of this layout are not trained on, if they are not.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    parse: Parse
    example: str
    optional: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    recognises: Callable[[Row], bool] = lambda _: True
    synonyms: Mapping[str, str] = field(default_factory=dict)
    refusal: Callable[[Row], Problem] | None = None

    def fits(self, row: Row) -> bool:
        """Whether the row has this layout."""
        named = self.named(row)
        has_all = all(named.get(column) is not None for column in self.columns)
        return has_all and self.recognises(named)

    def uses(self, column: str) -> bool:
        """Whether it is a column of this layout, or is refused in it."""
        return column in self.columns or column in self.optional or column in self.refused

    def named(self, row: Row) -> Row:
        """The row under our names of the columns; a synonym counts where ours is not there."""
        theirs = [name for name in self.synonyms if name in row]
        if not theirs:
            return row
        ours = {name: self.synonyms[name] for name in theirs if self.synonyms[name] not in row}
        return {ours.get(name, name): value for name, value in row.items()}
