"""Where does a result differ from the recorded one?

Two results of the same arithmetic (processor, torch) are equal to the last bit. Those of another
one are compared loosely: tensors of adapters within ``TENSORS``, numbers within ``RELATIVE``, texts
without their numbers and hashes. Answers that a model gives are not compared then, as one near tie
changes all that follows, nor bytes of other files. Nothing is skipped in silence: `compare` and the
tests name why they compare loosely.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from tests.recorded.normal import MEASURED

RELATIVE, ABSOLUTE = 0.02, 0.005  # of numbers, when they are compared loosely
ABSENT = "(absent)"
TENSORS = 0.01  # of the norm of a tensor
_NUMBER = re.compile(r"\b[0-9a-f]{12,}\b|[−+-]?\d[\d,.]*")
_ANSWERS = re.compile(r"(^|\.)(answers?|replies|files)(\.|$)")


@dataclass(frozen=True, slots=True)
class Difference:
    """A place in a document, what was recorded there and what is there now."""

    document: str
    path: str
    recorded: object
    now: object

    @property
    def place(self) -> tuple[str, str]:
        """The document, and the path in it."""
        return self.document, self.path

    def __str__(self) -> str:
        return f"{self.document}:{self.path}: was {self.recorded!r:.200}, is {self.now!r:.200}"


def differences(
    recorded: object, now: object, *, document: str, path: str = "", loosely: bool = False
) -> Iterator[Difference]:
    """Every place where two values differ."""
    where = {"document": document, "loosely": loosely}
    if loosely and _ANSWERS.search(path):
        return
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key in {**recorded, **now}:
            inner = f"{path}.{key}" if path else str(key)
            pair = recorded.get(key, ABSENT), now.get(key, ABSENT)
            yield from differences(*pair, path=inner, **where)
    elif _are_texts(recorded) and _are_texts(now):
        for old, new in _unlike(recorded, now, loosely=loosely):
            yield Difference(document, path, old, new)
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for old, new in zip(recorded, now, strict=True):
            yield from differences(old, new, path=path, **where)
    elif not _equal(recorded, now, loosely=loosely):
        yield Difference(document, path, recorded, now)


def _unlike(
    recorded: list[str], now: list[str], *, loosely: bool
) -> Iterator[tuple[object, object]]:
    """Texts that only one list has, or both lists where only their order differs."""
    found = False
    for text in recorded:
        if not any(_equal(text, each, loosely=loosely) for each in now):
            found = True
            yield text, ABSENT
    for text in now:
        if not any(_equal(text, each, loosely=loosely) for each in recorded):
            found = True
            yield ABSENT, text
    if not found and not loosely and recorded != now:
        yield recorded, now


def _equal(recorded: object, now: object, *, loosely: bool) -> bool:
    if recorded == MEASURED:  # also under a new name that does not tell so
        return now is None or now == MEASURED or _is_number(now)
    if type(recorded) is type(now) and recorded == now:
        return True
    if not loosely:
        return False
    if _is_number(recorded) and _is_number(now):
        return math.isclose(float(recorded), float(now), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    both_texts = isinstance(recorded, str) and isinstance(now, str)
    return both_texts and _NUMBER.sub("#", recorded) == _NUMBER.sub("#", now)


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def tensor_differences(recorded: Path, now: Path, *, document: str) -> Iterator[Difference]:
    """Tensors of two files whose distance is more than ``TENSORS`` of the recorded one's norm."""
    from safetensors.torch import load_file

    old, new = load_file(recorded), load_file(now)
    for name in {**old, **new}:
        if name not in old or name not in new or old[name].shape != new[name].shape:
            shapes = [list(t[name].shape) if name in t else ABSENT for t in (old, new)]
            yield Difference(document, name, *shapes)
            continue
        distance = float((new[name].double() - old[name].double()).norm())
        norm = float(old[name].double().norm())
        if distance > TENSORS * norm + 1e-6:
            yield Difference(document, name, f"norm {norm:.6g}", f"distance {distance:.6g}")
