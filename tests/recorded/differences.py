"""Where does a result differ from the recorded one?

Two results of the same arithmetic (processor, torch) are equal to the last bit. Those of another
one are compared loosely: numbers and tensors within a tolerance, texts without their numbers, and
bytes of files not at all. Nothing is skipped in silence: `compare` and the tests name what is
compared loosely, and why.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from tests.recorded.normal import MEASURED

RELATIVE, ABSOLUTE = 0.02, 0.005  # of numbers, when they are compared loosely
TENSORS = 0.01  # of the norm of a tensor
_DIGITS = re.compile(r"[−+-]?\d[\d,.]*")
_HASH = re.compile(r"[0-9a-f]{64}")


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
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key in {**recorded, **now}:
            inner = f"{path}.{key}" if path else str(key)
            if key in recorded and key in now:
                yield from differences(recorded[key], now[key], path=inner, **where)
            else:
                yield Difference(
                    document, inner, recorded.get(key, "(absent)"), now.get(key, "(absent)")
                )
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for old, new in zip(recorded, now, strict=True):
            yield from differences(old, new, path=path, **where)
    elif _are_texts(recorded) and _are_texts(now):
        for text in [each for each in recorded if each not in now]:
            yield Difference(document, path, text, "(absent)")
        for text in [each for each in now if each not in recorded]:
            yield Difference(document, path, "(absent)", text)
    elif not _equal(recorded, now, loosely=loosely):
        yield Difference(document, path, recorded, now)


def _equal(recorded: object, now: object, *, loosely: bool) -> bool:
    if recorded == MEASURED:  # also under a new name that does not tell so
        return now is None or now == MEASURED or _is_number(now)
    if type(recorded) is type(now) and recorded == now:
        return True
    if not loosely:
        return False
    if _is_number(recorded) and _is_number(now):
        return math.isclose(float(recorded), float(now), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(recorded, str) and isinstance(now, str):
        both_hashes = _HASH.fullmatch(recorded) and _HASH.fullmatch(now)
        return bool(both_hashes) or _DIGITS.sub("#", recorded) == _DIGITS.sub("#", now)
    return False


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
            shapes = [list(t[name].shape) if name in t else "(absent)" for t in (old, new)]
            yield Difference(document, name, *shapes)
            continue
        distance = float((new[name].double() - old[name].double()).norm())
        norm = float(old[name].double().norm())
        if distance > TENSORS * norm + 1e-6:
            yield Difference(document, name, f"norm {norm:.6g}", f"distance {distance:.6g}")
