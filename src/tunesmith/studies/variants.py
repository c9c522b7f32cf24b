"""Which runs a comparison makes: methods, each with every combination of a grid's values."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config.faults import COMMAND_LINE
from tunesmith.config.load import (
    SETTINGS,
    SHORT_FLAGS,
    Flags,
    merged,
    parse_value,
    read_yaml,
    run_config,
)
from tunesmith.config.methods import first_kind, kind_named
from tunesmith.config.renamed import new_key
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import ConfigError, UsageError

METHODS = "methods"  # the key of a comparison's config that a run's has not
LONGEST_VALUE = 40  # letters of a grid's value in the name of a run
LIST_OF_METHODS = "`methods: [full, {name: wide, kind: lora, rank: 64}]`"


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
    # What Python gives has no flags that messages could name.
    given_flags = isinstance(overrides, Flags)
    source = str(path) if path else COMMAND_LINE if given_flags else SETTINGS
    place = path if given_flags else Path(source)
    listed = _listed(values.pop(METHODS, None), source)
    common = _mapping(values.pop("method"))
    if methods:
        listed = [(kind, {"kind": kind}) for kind in methods]
    elif not listed:
        listed = [(str(common.get("kind", first_kind(four_bit=False))), common)]
    variants: list[Variant] = []
    faults: dict[str, str] = {}
    for name, method in listed:
        kinds = {kind_named(str(each["kind"])) for each in (common, method) if "kind" in each}
        if len(kinds) < len((common, method)):
            method = merged(common, method)
        for point in _points(grid):
            flags = merged(overrides, nested(point)) if given_flags else {}
            given = merged({**values, "method": method}, nested(point))
            label = "-".join([name, *(_in_a_name(key, value) for key, value in point.items())])
            try:
                variants.append(Variant(label, run_config(given, path=place, flags=flags)))
            except ConfigError as error:
                faults[label] = error.message
    if faults:
        count = len(faults) + len(variants)
        raise ConfigError(_fault_text(faults, count), remedy=_remedy(listed, grid))
    _require_runs_of_their_own(variants, source)
    return variants


def _fault_text(faults: Mapping[str, str], count: int) -> str:
    """Each fault once, after the runs that have it; alone where all of ``count`` runs do."""
    runs: dict[str, list[str]] = {}
    for label, message in faults.items():
        for line in message.splitlines():
            runs.setdefault(line, []).append(label)
    return "\n".join(
        line if 1 < len(labels) == count else f"{', '.join(labels)}: {line}"
        for line, labels in runs.items()
    )


def _remedy(listed: Sequence[object], grid: Mapping[str, object]) -> str:
    every = "`tunesmith compare --help` lists every key."
    if not grid or len(listed) < 2:
        return every
    return f"{every} A grid holds for every method; other settings of one: {LIST_OF_METHODS}."


def _require_runs_of_their_own(variants: Sequence[Variant], source: str) -> None:
    """Raise ConfigError for runs that would be the same one, or lie in the same folder."""
    alike: dict[str, list[str]] = {}
    for variant in variants:
        settings = repr(variant.config.model_copy(update={"out": None}))
        alike.setdefault(settings, []).append(variant.name)
    same = [", ".join(names) for names in alike.values() if len(names) > 1]
    if same:
        raise ConfigError(
            f"{source}: the same run is asked for more than once: {'; '.join(same)}.",
            remedy="Leave the others out, or give them other settings.",
        )
    twice = [name for name, count in Counter(v.name for v in variants).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{source}: several runs would be called {', '.join(twice)}.",
            remedy=f"Give each a name of its own: {LIST_OF_METHODS}.",
        )


def read_kinds(text: str) -> list[str]:
    """`lora, full` of --methods; UsageError where one is empty."""
    kinds = [kind.strip() for kind in text.split(",")]
    if not all(kinds):
        raise UsageError(
            f"--methods {text!r} has an empty name.", remedy="Write --methods lora,prompt,full."
        )
    return kinds


def read_grid(words: Sequence[str]) -> dict[str, list[object]]:
    """`method.rank=2,8` of each --grid, short flags too; commas in brackets part no values.

    Raises UsageError for another form, for an empty value, and for a key that is given twice.
    """
    grid: dict[str, list[object]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        key, values = new_key(SHORT_FLAGS.get(name, name)), comma_parts(text)
        faults = {
            "names no values": not equals or not text,
            "has an empty value": not all(values),
            "is given twice": key in grid,
        }
        if fault := next((fault for fault, is_so in faults.items() if is_so), None):
            raise UsageError(
                f"--grid {word}: {fault}.",
                remedy="Write --grid KEY=VALUE,VALUE, such as --grid method.rank=2,8,32.",
            )
        grid[key] = [parse_value(key, part) for part in values]
    return grid


def comma_parts(text: str) -> list[str]:
    """Between commas outside brackets: `[a, b],c` has two."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _in_a_name(key: str, value: object) -> str:
    """`rank-8`: a value in the name of a run, which is also its folder's."""
    last = key.rpartition(".")[2]
    if not isinstance(value, str | list | dict):
        return f"{last}-{value}"
    words: Iterable[object] = value if isinstance(value, list) else [value]
    plain = re.sub(r"[^\w.+]+", "-", "+".join(map(str, words))).strip("-.")
    return f"{last}-{plain[:LONGEST_VALUE]}"


def _mapping(method: object) -> dict[str, object]:
    """`method: lora` means its kind."""
    return dict(method) if isinstance(method, Mapping) else {"kind": method}


def _points(grid: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    return [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]


def nested(point: Mapping[str, object]) -> dict[str, object]:
    """Dotted keys where they belong in a config."""
    found: dict[str, object] = {}
    for key, value in point.items():
        *outer, last = key.split(".")
        inner: dict[str, object] = {last: value}
        for part in reversed(outer):
            inner = {part: inner}
        found = merged(found, inner)
    return found


def _listed(methods: object, source: str) -> list[tuple[str, dict[str, object]]]:
    """Names and settings of a file's `methods`; a kind alone has its defaults."""
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
        name = str(method.get("name", method["kind"]))
        if not name.strip(" .") or any(sign in name for sign in "/\\\0"):
            raise ConfigError(
                f"{source}: `name` {name!r} in `methods` cannot be the name of a folder.",
                remedy="Take one without / and \\, such as `wide`.",
            )
        listed.append((name, settings))
    return listed
