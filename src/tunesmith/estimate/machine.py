"""This machine as a device: measured once by a few products and copies, and kept in the cache.

Reading what was measured imports no library of tensors; measuring takes about two seconds.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.core import host_memory
from tunesmith.core.files import cache_root, replace_text
from tunesmith.core.progress import SILENT, Progress, usable_cores
from tunesmith.estimate.devices import CONTEXT_BYTES, HERE, LAUNCH_SECONDS, RESERVE, Device

if TYPE_CHECKING:
    import torch

VERSION = 2
"""Increased when something else is measured, so that older figures are not read."""
ROWS, WARM_UPS, REPEATS = 512, 1, 5
# Of the repetitions of one thing: a product of microseconds has many; beside other programs it has
# fewer than REPEATS.
MIN_SECONDS, MAX_SECONDS = 0.05, 0.3
OTHERS = 0.3  # cores that other programs may use while what is measured is kept
# Sides of the matrices that are multiplied; 96 is for the narrow ones of a LoRA term.
SIDES = (96, 256, 576, 1024, 2048, 4096)
NARROW = (16, 576)  # as whose product the first is measured
COPIED = 2**26  # numbers
UNIT = (1792, 1536)  # a gated unit's: what passes over activations are measured by
CODES = 4096  # side of a 4-bit weight


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured: operations a second by format and side, bytes a second of a copy, numbers
    a second of an elementwise pass, 4-bit weights a second, and bytes of the process by itself.

    ``memory`` of a GPU is that of the card.
    """

    name: str
    kind: str
    dtype: str
    rates: Mapping[str, Mapping[str, float]]
    bandwidth: float
    elementwise: float
    dequantized: float | None
    memory: int | None
    process_bytes: int
    measured: str
    ratios: Mapping[str, list[float]] = field(default_factory=dict)  # see `learn`


def here(device: str = "auto", *, progress: Progress = SILENT, measure: bool = True) -> Device:
    """This machine, with the memory that is free now; measured first where it was not yet.

    What was measured beside other programs is not kept: it would slow every later plan. Without
    ``measure`` a machine that was not measured has no rates.
    """
    found = read(device)
    if found is None and measure:
        progress.phase("measuring this machine once: matrix products and copies")
        others = cores_of_others()
        found = measured(device)
        if others <= OTHERS:
            write(found, device)
        else:
            progress.notice(
                "machine",
                "Other programs are using this machine: the times are too long, and it will be "
                "measured again next time.",
            )
    if found is None:
        free = host_memory.available_bytes() or 0
        return Device(HERE, "this machine", "cpu", host_memory.total_bytes() or 0, free)
    return as_device(found)


def as_device(found: Machine) -> Device:
    """The device that was measured, with what is free now."""
    if found.kind == "cpu":
        memory = host_memory.total_bytes() or 0
        usable = (host_memory.available_bytes() or memory) - found.process_bytes
    else:
        memory = found.memory or 0
        usable = int((memory - CONTEXT_BYTES) * (1 - RESERVE))
    curves = {
        dtype: tuple(sorted((int(side), rate) for side, rate in rates.items()))
        for dtype, rates in found.rates.items()
    }
    return Device(
        HERE,
        found.name,
        found.kind,
        memory,
        max(0, usable),
        bandwidth=found.bandwidth,
        rates={dtype: max(rate for _, rate in curve) for dtype, curve in curves.items()},
        source=f"measured here on {found.measured}",
        kernel_seconds=CALL_SECONDS if found.kind == "cpu" else LAUNCH_SECONDS,
        dequantized=found.dequantized,
        curves=curves,
        elementwise=found.elementwise,
        preferred=found.dtype,
        process_bytes=found.process_bytes if found.kind == "cpu" else 0,
        corrections={kind: statistics.median(each) for kind, each in found.ratios.items()},
    )


KEPT_RATIOS = 9  # of the newest runs of a method


def learn(device: str, kind: str, ratio: float) -> None:
    """Correct later plans: the steps of a run took ``ratio`` times what was predicted of them.

    The prediction was corrected already by the runs before. Nothing where this machine was not
    measured.
    """
    if (found := read(device)) is None:
        return
    before = found.ratios.get(kind, [])
    whole = ratio * (statistics.median(before) if before else 1.0)
    ratios = {**found.ratios, kind: [*before, whole][-KEPT_RATIOS:]}
    write(replace(found, ratios=ratios), device)


CALL_SECONDS = 8e-6  # of one operation on a processor beside its arithmetic


def cores_of_others(seconds: float = 0.2) -> float:
    """Cores that other programs use, over so many seconds; 0 where Linux' /proc/stat is not."""

    def used() -> float:
        names = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
        user, nice, system, _, _, interrupts, soft, *_ = map(int, names)
        return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")

    try:
        before, own, start = used(), time.process_time(), time.monotonic()
        time.sleep(seconds)
        found = used() - before - (time.process_time() - own)
    except (OSError, ValueError, AttributeError):
        return 0.0
    return max(0.0, found / (time.monotonic() - start))


def read(device: str = "auto") -> Machine | None:
    """What was measured on this machine as it is now; None where nothing was."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
        return Machine(**kept[_key(device)])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(found: Machine, device: str = "auto") -> None:
    """Keep what was measured, where the cache can be written."""
    file = _file()
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        kept[_key(device)] = asdict(found)
    except (OSError, ValueError, TypeError):
        kept = {_key(device): asdict(found)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(kept, indent=1) + "\n")
    except OSError:
        return


def _file() -> Path:
    return cache_root() / "machine.json"


def _key(device: str) -> str:
    """Of what was measured: another processor, number of threads or torch has figures of its own.

    Found out without torch.
    """
    processor = host_memory.processor().get("model name", "")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    parts = (VERSION, device, processor, usable_cores(), threads, cards, metadata.version("torch"))
    return " | ".join(map(str, parts))


def measured(device: str = "auto", *, now: Callable[[], float] = time.perf_counter) -> Machine:
    """Measure this machine."""
    import torch

    from tunesmith.engine.memory import held_bytes
    from tunesmith.models.precision import detect_device, detect_dtype

    on = detect_device(device)
    number, _ = detect_dtype("auto", on)
    formats = dict.fromkeys((number, torch.float32))
    clock = _Clock(on, now)
    rates = {
        str(each).removeprefix("torch."): {str(side): clock.rate(side, each) for side in SIDES}
        for each in formats
    }
    memory, name = None, host_memory.processor().get("model name", "this processor")
    if on.type != "cpu":
        name = torch.cuda.get_device_name(on) if on.type == "cuda" else on.type
        memory = torch.cuda.get_device_properties(on).total_memory if on.type == "cuda" else None
    return Machine(
        name=name,
        kind=on.type,
        dtype=str(number).removeprefix("torch."),
        rates=rates,
        bandwidth=clock.bandwidth(),
        elementwise=clock.elementwise(number),
        dequantized=clock.dequantized(number),
        memory=memory,
        process_bytes=max(PROCESS_BYTES, held_bytes(torch.device("cpu")))
        if on.type == "cpu"
        else 0,
        measured=time.strftime("%Y-%m-%d"),
    )


PROCESS_BYTES = 520_000_000
"""What a run's process takes on a processor before its base: Python, torch, transformers."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """The fastest of a few repetitions on a device: what other work on the machine slows is left
    out.
    """

    device: "torch.device"
    now: Callable[[], float]

    def seconds(self, work: Callable[[], object]) -> float:
        import torch

        found: list[float] = []
        begun = time.monotonic()
        while len(found) <= WARM_UPS or time.monotonic() - begun < (
            MAX_SECONDS if len(found) < WARM_UPS + REPEATS else MIN_SECONDS
        ):
            start = self.now()
            work()
            if self.device.type != "cpu":
                torch.accelerator.synchronize(self.device)
            found.append(self.now() - start)
        return max(1e-9, min(found[WARM_UPS:]))

    def rate(self, side: int, dtype: "torch.dtype") -> float:
        """Operations a second of x W^T, x [ROWS, side] and W [side, side]."""
        import torch

        out, width = NARROW if side == SIDES[0] else (side, side)
        x = torch.randn(ROWS, width, device=self.device).to(dtype)
        weight = torch.randn(out, width, device=self.device).to(dtype)
        return 2 * ROWS * out * width / self.seconds(lambda: x @ weight.t())

    def bandwidth(self) -> float:
        """Bytes a second that are read and written."""
        import torch

        one = torch.ones(COPIED, dtype=torch.float32, device=self.device)
        other = torch.empty_like(one)
        return 2 * one.nbytes / self.seconds(lambda: other.copy_(one))

    def elementwise(self, dtype: "torch.dtype") -> float:
        """Numbers a second of one pass: half of a gated unit."""
        import torch

        gate, up = (torch.randn(*UNIT, device=self.device).to(dtype) for _ in range(2))
        return 2 * gate.numel() / self.seconds(lambda: torch.nn.functional.silu(gate).mul_(up))

    def dequantized(self, dtype: "torch.dtype") -> float | None:
        """4-bit weights a second; None where they do not work here."""
        from tunesmith.core.errors import ModelError
        from tunesmith.models.four_bit import quantize, require_kernels

        try:
            require_kernels(self.device)
        except ModelError:
            return None
        import torch

        weight = torch.randn(CODES, CODES, device=self.device).to(dtype)
        codes = quantize((CODES, CODES), lambda start, stop: weight[start:stop])
        return CODES * CODES / self.seconds(lambda: codes.dense(dtype))
