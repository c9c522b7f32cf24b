"""What a JSON value must be to be a row: an object with no key given twice, or a list of cells."""

from collections.abc import Collection, Mapping

from tunesmith.data.faults import Problem
from tunesmith.data.files.record import kind_of

LINES_REMEDY = "Each line must be one complete JSON object."


class UniqueKeys:
    """Makes objects of a JSON text's pairs, and remembers the keys that one of them gives twice."""

    __slots__ = ("twice",)

    def __init__(self) -> None:
        self.twice: set[str] = set()

    def make(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        """The object; to be given to a JSON decoder as its `object_pairs_hook`."""
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice |= {name for name in values if names.count(name) > 1}
        return values

    def problem(self, remedy: str = LINES_REMEDY) -> Problem | None:
        """Which keys were given twice, and forget them."""
        if not self.twice:
            return None
        names, self.twice = self.twice, set()
        return given_twice(names, remedy)


def given_twice(names: Collection[str], remedy: str) -> Problem:
    """An object that has several values under one of these keys."""
    return broken_json(f"key given twice: {', '.join(sorted(names))}", remedy)


def broken_json(reason: str, remedy: str = LINES_REMEDY) -> Problem:
    """A text that is no JSON."""
    return Problem("broken_json", f"not valid JSON: {reason}.", remedy)


def row_of(value: object) -> dict[str, object] | Problem:
    """The row that a value is, or why it is none; the cells of a list are called by their place."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and len(value) > 1 and any(isinstance(cell, str) for cell in value):
        return {str(place): cell for place, cell in enumerate(value)}
    if isinstance(value, list) and value and all(isinstance(cell, dict) for cell in value):
        return not_an_object(value, 'Write it as {"messages": [...]}.')
    return not_an_object(value)


def not_an_object(
    value: object, remedy: str = 'Write each row as {"column": value, ...} on a line of its own.'
) -> Problem:
    """That a value is no row."""
    what = f"a row must be a JSON object, this is {kind_of(value)}."
    return Problem("not_an_object", what, remedy)


def is_of_a_list(row: Mapping[str, object]) -> bool:
    """Whether a row was a list: its columns are called 0, 1, and so on."""
    return bool(row) and all(name == str(place) for place, name in enumerate(row))
