"""Which rows of the data a user may have left out by name, and how the names are written."""

import difflib
from typing import Literal, get_args

DropName = Literal[
    "duplicates",
    "near_duplicates",
    "contradictions",
    "leakage",
    "personal_data",
    "languages",
    "long_tail",
    "too_long",
]
DROP_NAMES: tuple[DropName, ...] = get_args(DropName)
TOO_LONG: DropName = "too_long"


def read_names(value: object) -> object:
    """`a,b` as a list of names, each once; raises ValueError for one that is not known."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    read = [name.strip() if isinstance(name, str) else str(name) for name in names]
    unknown = [name for name in read if name not in DROP_NAMES]
    if unknown:
        raise ValueError("; ".join(map(_unknown, unknown)))
    return tuple(dict.fromkeys(read))


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, DROP_NAMES, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(DROP_NAMES)}"
    return f"no rows are left out by the name `{name}`; {hint}"
