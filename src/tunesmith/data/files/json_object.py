"""What a JSON value must be to be a row: an object, no key of it given twice."""

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
        names, self.twice = ", ".join(sorted(self.twice)), set()
        return broken_json(f"key given twice: {names}", remedy)


def broken_json(reason: str, remedy: str = LINES_REMEDY) -> Problem:
    """A text that is no JSON."""
    return Problem("broken_json", f"not valid JSON: {reason}.", remedy)


def not_an_object(values: object) -> Problem | None:
    """Why a value is no row, if it is none."""
    if isinstance(values, dict):
        return None
    return Problem(
        "not_an_object",
        f"a row must be a JSON object, this is {kind_of(values)}.",
        'Write each row as {"column": value, ...} on a line of its own.',
    )
