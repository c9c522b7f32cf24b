"""Devices that a plan is made for: this machine, those of a table, or any amount of memory."""

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from tunesmith.core import yaml_text
from tunesmith.core.errors import UsageError

HERE = "here"
_MEMORY_ALONE = re.compile(r"(\d+(?:\.\d+)?)\s*gb")
GIB = 2**30
# Of a card: what driver and context take before the first tensor, and what stays free, as a run
# leaves it (`engine/memory.py`). Metal recommends at most three quarters of the memory.
CONTEXT_BYTES, RESERVE, METAL_SHARE = 600_000_000, 0.10, 0.75
FORMATS = ("bfloat16", "float16", "float32")  # the first that a device multiplies fast in


@dataclass(frozen=True, slots=True)
class Device:
    """A device: bytes of memory, bytes a second that it moves, operations a second by format.

    ``usable`` are the bytes that a run may take. ``kernel_seconds``: of starting one operation.
    ``dequantized``: 4-bit weights that are made dense in a second; ``elementwise``: numbers of a
    pass over activations; None: as fast as memory is. ``curves``: operations a second by the side
    of a matrix, where they were measured. ``process_bytes``: what a process takes by itself.
    ``corrections``: seconds of real steps over predicted ones, by kind of method.
    """

    name: str
    title: str
    kind: str
    memory: int
    usable: int
    bandwidth: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    kernel_seconds: float = 0.0
    dequantized: float | None = None
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    elementwise: float | None = None
    preferred: str | None = None
    process_bytes: int = 0
    corrections: Mapping[str, float] = field(default_factory=dict)

    def has_flash(self, dtype: str) -> bool:
        """Whether attention takes FlashAttention there: on NVIDIA's cards from Ampere on, which are
        those with bfloat16, in 16-bit formats (`engine/varlen.py`).
        """
        is_nvidia = self.kind == "cuda" and not self.title.startswith("AMD")
        return is_nvidia and "bfloat16" in self.rates and dtype != "float32"

    @property
    def dtype(self) -> str:
        """The format that `dtype: auto` takes there."""
        if self.preferred is not None:
            return self.preferred
        fast = self.rates.get("float32", 0.0)
        known = [name for name in FORMATS if self.rates.get(name, 0.0) > fast]
        return known[0] if known else ("float32" if self.rates else FORMATS[0])

    @property
    def has_four_bit(self) -> bool:
        """Whether 4-bit weights can be read there (`models/four_bit.py`)."""
        return self.kind in ("cpu", "cuda")


LAUNCH_SECONDS = 6e-6  # of one operation of torch's on a GPU: docs/gpu.md, "Launches"


@functools.cache
def known_devices() -> tuple[Device, ...]:
    """Those of the table."""
    text = (Path(str(files(__package__))) / "devices.yaml").read_text(encoding="utf-8")
    return tuple(_device(row) for row in yaml_text.read(text))


def _device(row: Mapping[str, object]) -> Device:
    rates, memory = row["rates"], int(float(str(row["memory"])))
    assert isinstance(rates, Mapping)
    share = METAL_SHARE if row["kind"] == "mps" else 1 - RESERVE
    context = 0 if row["kind"] == "mps" else CONTEXT_BYTES
    return Device(
        name=str(row["name"]),
        title=str(row["title"]),
        kind=str(row["kind"]),
        memory=memory,
        usable=int((memory - context) * share),
        bandwidth=float(str(row["bandwidth"])),
        rates={str(name): float(rate) for name, rate in rates.items()},
        source=str(row["source"]),
        kernel_seconds=LAUNCH_SECONDS,
    )


def find_devices(names: str | Sequence[str]) -> list[Device]:
    """The devices of these names (`rtx-4090-24gb,24gb`), in their order, without this machine.

    Raises UsageError that names the nearest ones for a name that is not known.
    """
    given = names.split(",") if isinstance(names, str) else names
    return [_find(name.strip().lower()) for name in given if name.strip()]


def _find(name: str) -> Device:
    known = {device.name: device for device in known_devices()}
    if name in known:
        return known[name]
    short = [each for each in known if each.rsplit("-", 1)[0] == name]
    if len(short) == 1:
        return known[short[0]]
    if found := _MEMORY_ALONE.fullmatch(name):
        memory = int(float(found[1]) * GIB)
        usable = int((memory - CONTEXT_BYTES) * (1 - RESERVE))
        return Device(name, f"any GPU of {found[1]} GB", "cuda", memory, max(0, usable))
    near = short or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    sizes = "a size such as 24gb is any GPU of that memory"
    raise UsageError(
        f"No device is called {name!r}.",
        remedy=f"Did you mean {' or '.join(near)}?"
        if near
        else f"Known are {', '.join(known)}; {sizes}.",
    )
