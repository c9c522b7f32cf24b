"""`plan`: memory, time and adapter size of every method, on this machine and on others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.recommend import Recommendation, recommended
from tunesmith.api.settings import config_of, is_named, nested, plain
from tunesmith.api.show import Document, Outcome, line, paragraph, print_facts, print_table
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import UsageError
from tunesmith.core.language import localized
from tunesmith.core.numbers import bytes_text, count_text, duration, milliseconds, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.methods import AnyMethod
    from tunesmith.config.run import RunConfig
    from tunesmith.engine.shape import ModelShape
    from tunesmith.estimate.plan import DevicePlan, MethodPlan
    from tunesmith.runs.plan import RunPlan

TITLES = (
    *("method", "fits", "peak", "adapter", "step", "time", "longest", "largest base", "quality"),
)
NUMBERS = ("peak", "adapter", "step", "time", "longest", "quality")
WORDS, WHOLE = ("fits",), ("method", "fits")
QUALITY = (
    "quality: points of the score that a method was from full fine-tuning, on five tasks with "
    "SmolLM2-135M; a guide, no promise for another base or task"
)
IN_MEMORY = "the model in memory"


@dataclass(frozen=True, slots=True)
class Plan(Outcome):
    """A table of methods for each device: what fits, what it takes, what to change.

    ``plan["lora"]`` is a method's plan on the first device, ``plan["lora", "h100-80gb"]`` that on
    another one.
    """

    found: "RunPlan"
    recommendation: "Recommendation | None" = None  # where there is a goal

    @property
    def devices(self) -> "tuple[DevicePlan, ...]":
        """The plan of each device, in the order asked for; this machine is called `here`."""
        return self.found.devices

    @property
    def methods(self) -> "dict[str, MethodPlan]":
        """Each method's plan on the first device."""
        return {each.method: each for each in self.devices[0].methods}

    def __getitem__(self, key: "str | tuple[str, str]") -> "MethodPlan":
        method, device = (key, self.devices[0].device.name) if isinstance(key, str) else key
        for each in self.devices:
            if each.device.name == device:
                return {m.method: m for m in each.methods}[method]
        raise KeyError(key)

    def to_json(self) -> Document:
        """The devices with their methods, and the recommendation."""
        advice = self.recommendation
        return {**self.found.to_json(), "recommendation": advice.to_json() if advice else None}

    def show(self, console: "Console") -> None:
        """What is recommended, the base, then a table for each device with what to change below."""
        found = self.found
        if self.recommendation is not None:
            self.recommendation.show(console)
        line(console, found.model, style="bold")
        facts = [("parameters", count_text(found.parameters))]
        if found.active_parameters < 0.9 * found.parameters:
            facts.append(("of a token", count_text(found.active_parameters)))
        print_facts(console, facts)
        for text in _asked(found):
            paragraph(console, text)
        for each in self.devices:
            device = each.device
            usable = f"{bytes_text(device.usable)} usable"
            title = f"\n{device.name}: {device.title}, {usable} of {bytes_text(device.memory)}"
            line(console, title, style="bold")
            _print_methods(console, each.methods)
        if any(method.quality for method in self.devices[0].methods):
            paragraph(console, QUALITY)
        if any(not each.device.rates for each in self.devices):
            paragraph(console, "No time where the rate of a device is not known.")


def _asked(found: "RunPlan") -> Iterator[str]:
    wish = found.wish
    document, step = pluralize(wish.document, "token"), pluralize(wish.tokens_per_step, "token")
    if (rows := found.rows) is not None:
        tokens = pluralize(rows.tokens, "token")
        yield f"{pluralize(rows.rows, 'row')}, about {tokens} ({rows.source})"
    yield f"documents of up to {document}, {step} a step"
    if retained := round(wish.retained * wish.tokens_per_step):
        yield f"beside them {pluralize(retained, 'token')} a step of texts that are retained"
    if rows is None:
        yield "without rows there is no time of a whole run"
    elif wish.tokens:
        yield f"about {pluralize(wish.tokens, 'token')} in all passes"


def _print_methods(console: "Console", methods: "Sequence[MethodPlan]") -> None:
    """The table, and below it how each fits, those together that do so alike, or what would do."""
    rows = [_row(method) for method in methods]
    shown = [
        i for i, title in enumerate(TITLES) if title != "time" or {r[i] for r in rows} != {"-"}
    ]
    print_table(
        console,
        [TITLES[i] for i in shown],
        rows=[[row[i] for i in shown] for row in rows],
        numbers=NUMBERS,
        words=WORDS,
        whole=WHOLE,
    )
    alike: dict[str, list[str]] = {}
    for method in methods:
        alike.setdefault(method.reason, []).append(method.method)
    for reason, names in alike.items():
        line(console, f"{', '.join(names)}: {localized(reason)}")
    for method in methods:
        if method.changes:
            line(console, f"{method.method} would fit with: {'; or '.join(method.changes)}")


def _row(method: "MethodPlan") -> tuple[str, ...]:
    if method.memory is None:
        return (method.method, "no", *(["-"] * (len(TITLES) - 2)))
    step, seconds = method.step_seconds, method.seconds
    longest = method.longest_context
    return (
        method.method,
        "yes" if method.fits else "no",
        bytes_text(method.peak_bytes),
        bytes_text(method.adapter_bytes),
        "-" if step is None else milliseconds(step),
        "-" if seconds is None else duration(seconds),
        "-" if longest is None else f"{longest:,}",
        method.largest_model or "-",
        method.quality or "-",
    )


def plan(  # noqa: PLR0913  (keywords)
    model_or_config: object,
    *,
    methods: Sequence[str] | str | None = None,
    devices: Sequence[str] | str | None = None,
    document: int | None = None,
    ranks: int = 1,
    settings: Mapping[str, object] | None = None,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> Plan:
    """What every method takes of a base in memory and time, without loading it.

    ``model_or_config``: a base (short name, folder, config.json, hub id, or a transformers model or
    config in memory), or a run's config (a YAML file, a mapping or a RunConfig), whose rows then
    count. ``methods``: some, in place of all. ``devices``: names of other devices
    (`rtx-4090-24gb`, `h100-80gb`, `m3-max`, or any GPU of `24gb`), beside this machine. With
    ``document`` the longest document has so many tokens. ``ranks``: devices that share the work.
    ``settings``: further keys of the config, such as ``{"method.rank": 8}``.

    Raises UsageError for an unknown device or method, ModelError for what describes no base.
    """
    with working(on_event=on_event, progress=progress) as work:
        from tunesmith.estimate.devices import find_devices
        from tunesmith.estimate.machine import here
        from tunesmith.runs.plan import plan_run, shape_named

        others = find_devices(devices) if devices else []
        config, shape = _read(model_or_config, dict(settings or {}))
        chosen = _methods(config, methods)
        shape = shape or shape_named(config.model, trust_remote_code=config.trust_remote_code)
        own = here(config.device, progress=work.progress)
        found = plan_run(
            config,
            chosen,
            [own, *others],
            shape=shape,
            document=document,
            ranks=ranks,
        )
        advice = recommended(config, found, work.progress) if config.goal else None
    return Plan(found, advice)


def _read(given: object, settings: dict[str, object]) -> "tuple[RunConfig, ModelShape | None]":
    """The config to plan for; and the base's shape, where it is in memory."""
    from tunesmith.engine.config_shape import shape_of

    if _is_config(given):
        assert isinstance(given, str | Path | Mapping) or hasattr(given, "model_dump")
        return config_of(nested(_plain(settings)), given), None
    shape, name = None, str(given)
    config = getattr(given, "config", given)
    if not is_named(given) and hasattr(config, "to_dict"):
        shape, name = shape_of(config.to_dict(), name=IN_MEMORY), IN_MEMORY
    elif not is_named(given):
        raise UsageError(
            f"plan takes a base or a config, not {type(given).__name__}.",
            remedy='Give a name, a folder, a YAML file: plan("qwen3-4b").',
        )
    values = {"model": name, "data": {"train": ""}}
    return config_of(nested({**values, **_plain(settings)})), shape


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    found = plain(settings)
    assert isinstance(found, dict)
    return found


def _is_config(given: object) -> bool:
    """Whether this is a run's config, and not a base."""
    if isinstance(given, str | Path):
        return Path(given).suffix in (".yaml", ".yml")
    return isinstance(given, Mapping) or hasattr(given, "model_dump")


def _methods(config: "RunConfig", names: Sequence[str] | str | None) -> "dict[str, AnyMethod]":
    """The settings of each method: the config's own for its kind and those of the same keys, as
    `lora` and `qlora` are, and defaults for the others.
    """
    from tunesmith.config.methods import default_methods, kind_named
    from tunesmith.core.phrases import nearest

    every = default_methods()
    given = names.split(",") if isinstance(names, str) else names
    wanted = [kind_named(name.strip()) for name in given] if given else list(every)
    if unknown := [name for name in wanted if name not in every]:
        near = nearest(unknown[0], list(every))
        raise UsageError(
            f"There is no method {unknown[0]!r}.",
            remedy=f"Did you mean {near}?" if near else f"Known are {', '.join(every)}.",
        )
    own = config.method
    return {
        name: own.model_copy(update={"kind": name})
        if type(own) is type(every[name])
        else every[name]
        for name in wanted
    }
