"""Which runs a comparison makes: methods, each with every combination of a grid's values."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config.faults import COMMAND_LINE
from tunesmith.config.load import merged, parse_value, read_yaml, run_config
from tunesmith.config.methods import kind_named
from tunesmith.config.run import RunConfig
from tunesmith.errors import ConfigError, UsageError

METHODS = "methods"  # the key of a comparison's config that a run's has not


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of a comparison: its name, which is also its folder's, and its config."""

    name: str
    config: RunConfig


def load_variants(
    path: Path | None,
    overrides: Mapping[str, object],
    *,
    methods: Sequence[str] = (),
    grid: Mapping[str, Sequence[object]],
) -> list[Variant]:
    """The runs of a file and flags; raises ConfigError with every fault of every run.

    Methods are ``methods`` (kinds, as their defaults are), or the file's `methods` list
    (`{name, kind, ...}`), or its one `method`. The settings of that one also go into the others of
    its kind, or into all where it names none.
    """
    values = read_yaml(path) if path is not None else {}
    values["method"] = _mapping(values.get("method", {}))
    values = merged(values, overrides)
    source = str(path) if path else COMMAND_LINE
    listed = _listed(values.pop(METHODS, None), source)
    common = _mapping(values.pop("method"))
    if methods:
        listed = [(kind, {"kind": kind}) for kind in methods]
    elif not listed:
        listed = [(str(common.get("kind", "lora")), common)]
    variants, faults = [], []
    for name, method in listed:
        kinds = {kind_named(str(each["kind"])) for each in (common, method) if "kind" in each}
        if len(kinds) < len((common, method)):
            method = merged(common, method)
        for point in _points(grid):
            flags = merged(overrides, _nested(point))
            given = merged({**values, "method": method}, _nested(point))
            label = "-".join([name, *(f"{k.rpartition('.')[2]}-{v}" for k, v in point.items())])
            try:
                variants.append(Variant(label, run_config(given, path=path, flags=flags)))
            except ConfigError as error:
                faults.append(f"{label}: {error.message}")
    if faults:
        raise ConfigError("\n".join(faults), remedy="`tunesmith compare --help` lists every key.")
    twice = [name for name, count in Counter(v.name for v in variants).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{source}: several runs would be called {', '.join(twice)}.",
            remedy="Give each entry of `methods` a name of its own.",
        )
    return variants


def read_grid(words: Sequence[str]) -> dict[str, list[object]]:
    """`method.rank=2,8` of each --grid; UsageError for another form, or a key given twice."""
    grid: dict[str, list[object]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        values = [part for part in text.split(",") if part]
        if not equals or not values or key in grid:
            raise UsageError(
                f"--grid {word}: {'is given twice' if key in grid else 'names no values'}.",
                remedy="Write --grid KEY=VALUE,VALUE, such as --grid method.rank=2,8,32.",
            )
        grid[key] = [parse_value(key, part) for part in values]
    return grid


def _mapping(method: object) -> dict[str, object]:
    """`method: lora` means its kind."""
    return dict(method) if isinstance(method, Mapping) else {"kind": method}


def _points(grid: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    return [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]


def _nested(point: Mapping[str, object]) -> dict[str, object]:
    nested: dict[str, object] = {}
    for key, value in point.items():
        inner: dict[str, object] = {}
        inner[key.rpartition(".")[2]] = value
        for part in reversed(key.split(".")[:-1]):
            inner = {part: inner}
        nested = merged(nested, inner)
    return nested


def _listed(methods: object, source: str) -> list[tuple[str, dict[str, object]]]:
    """Names and settings of a file's `methods`; a kind alone stands for its defaults."""
    if methods is None:
        return []
    faulty = ConfigError(
        f"{source}: `methods` is a list of kinds or of {{name, kind, ...}} (given: {methods!r}).",
        remedy="Write `methods: [lora, {name: wide, kind: lora, rank: 64}]`.",
    )
    if not isinstance(methods, list) or not methods:
        raise faulty
    listed = []
    for entry in methods:
        method = {"kind": entry} if isinstance(entry, str) else entry
        if not isinstance(method, dict) or not isinstance(method.get("kind"), str):
            raise faulty
        settings = {key: value for key, value in method.items() if key != "name"}
        listed.append((str(method.get("name", method["kind"])), settings))
    return listed
