"""A plan: what each method of fine-tuning takes of a base on a device, and whether it fits."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files

from tunesmith.config.methods import AnyMethod
from tunesmith.config.run import Recompute
from tunesmith.core import yaml_text
from tunesmith.core.errors import ConfigError
from tunesmith.engine.shape import ModelShape
from tunesmith.estimate.devices import Device
from tunesmith.estimate.fitting import Fitting, Wish
from tunesmith.estimate.memory import Memory, memory_of
from tunesmith.estimate.seconds import Seconds, step_seconds


@dataclass(frozen=True, slots=True)
class MethodPlan:
    """One method on one device: whether it fits, and what it takes where it does, or would.

    ``peak_bytes`` are those of one device, with the process itself on a processor; ``seconds`` of
    all steps, None where rates or tokens are not known. ``changes`` are what makes it fit, or makes
    room. ``largest_model``: of the known bases; ``longest_context``: in tokens. ``quality``: points
    of a score that the method was from `full` on some tasks, "" where that was not measured.
    """

    method: str
    fits: bool
    peak_bytes: int
    adapter_bytes: int
    trainable_parameters: int
    memory: Memory | None
    tokens_per_micro_batch: int
    recompute: Recompute
    ranks: int
    sharded: bool
    step: Seconds | None
    step_seconds: float | None
    tokens_per_second: float | None
    seconds: float | None
    reason: str
    changes: tuple[str, ...] = ()
    largest_model: str | None = None
    longest_context: int | None = None
    quality: str = ""

    def to_json(self) -> dict[str, object]:
        """As `plan --json` prints it."""
        parts = self.memory.to_json() if self.memory else None
        step = self.step.to_json() if self.step else None
        values = {k: v for k, v in asdict(self).items() if k not in ("memory", "step")}
        return {**values, "bytes": parts, "parts_of_step": step, "changes": list(self.changes)}


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """All methods on one device."""

    device: Device
    methods: tuple[MethodPlan, ...]

    def to_json(self) -> dict[str, object]:
        """As `plan --json` prints it."""
        return {
            "device": self.device.name,
            "title": self.device.title,
            "memory_bytes": self.device.memory,
            "usable_bytes": self.device.usable,
            "source": self.device.source,
            "methods": [each.to_json() for each in self.methods],
        }


def plan_devices(
    shape: ModelShape,
    methods: Mapping[str, AnyMethod],
    devices: Sequence[Device],
    wish: Wish,
    *,
    known: Mapping[str, ModelShape],
) -> tuple[DevicePlan, ...]:
    """The plan of every method on every device; ``known`` are the bases of which the largest that
    fits is named.
    """
    return tuple(
        DevicePlan(
            device,
            tuple(
                plan_method(shape, name, settings, device, wish, known=known)
                for name, settings in methods.items()
            ),
        )
        for device in devices
    )


def plan_method(
    shape: ModelShape,
    name: str,
    settings: AnyMethod,
    device: Device,
    wish: Wish,
    *,
    known: Mapping[str, ModelShape] = {},
) -> MethodPlan:
    """One method on one device."""
    try:
        case = Fitting(shape, settings, device, wish)
        size, refused = case.size, case.refusal()
    except ConfigError as error:
        return _impossible(name, wish, f"{error.message} {error.remedy}")
    if refused:
        return _impossible(name, wish, refused)
    setup = case.fitting() or case.least()
    memory = memory_of(shape, size, setup)
    peak = memory.total + device.process_bytes
    fits = memory.total <= device.usable
    step = step_seconds(shape, size, setup, device, tokens=wish.tokens_per_step)
    correction = device.corrections.get(getattr(settings, "kind", ""), 1.0)
    seconds = None if step is None else step.total * wish.work * correction
    rate = None if not seconds else wish.tokens_per_step / seconds
    return MethodPlan(
        method=name,
        fits=fits,
        peak_bytes=peak,
        adapter_bytes=size.stored * size.stored_bytes,
        trainable_parameters=size.trained,
        memory=memory,
        tokens_per_micro_batch=setup.tokens,
        recompute=setup.recompute,
        ranks=setup.ranks,
        sharded=setup.shard,
        step=step,
        step_seconds=seconds,
        tokens_per_second=rate,
        seconds=None if rate is None or wish.tokens is None else wish.tokens / rate,
        reason=case.reason(setup, memory),
        changes=() if fits else tuple(case.changes()),
        largest_model=case.largest(known),
        longest_context=case.longest_context(),
        quality=quality_of(getattr(settings, "kind", "")),
    )


@functools.cache
def _measured_quality() -> Mapping[str, Mapping[str, float]]:
    text = (files("tunesmith.estimate") / "quality.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, float]] = yaml_text.read(text)["beside"]
    return found


def quality_of(kind: str) -> str:
    """From where to where a method's scores lay beside those of `full`, in points."""
    points = _measured_quality().get(kind, {}).values()
    ends = [round(find(points)) for find in (min, max)] if points else []
    return " to ".join(f"{end:+d}" if end else "0" for end in dict.fromkeys(ends))


def _impossible(name: str, wish: Wish, reason: str) -> MethodPlan:
    return MethodPlan(
        method=name,
        fits=False,
        peak_bytes=0,
        adapter_bytes=0,
        trainable_parameters=0,
        memory=None,
        tokens_per_micro_batch=0,
        recompute="none",
        ranks=wish.ranks,
        sharded=False,
        step=None,
        step_seconds=None,
        tokens_per_second=None,
        seconds=None,
        reason=reason,
    )
