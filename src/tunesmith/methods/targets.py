"""Which linear layers a name matches: in our settings, and in PEFT's config."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from tunesmith.core.errors import ConfigError


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern matches a layer's dotted name: by its last parts, or as a glob."""
    if any(sign in pattern for sign in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return name == pattern or name.endswith("." + pattern)


def targeted(
    targets: Literal["all-linear"] | Sequence[str],
    linears: Sequence[str],
    *,
    method: str,
    key: str = "targets",
) -> list[str]:
    """The layers that ``targets``, a key of a method, name; ConfigError where one names none."""
    if targets == "all-linear":
        return list(linears)
    refuse_idle(method, key, targets, linears)
    return [n for n in linears if any(matches(n, t) for t in targets)]


def refuse_idle(
    method: str, key: str, patterns: Sequence[str] | Mapping[str, object], names: Sequence[str]
) -> None:
    """Raise ConfigError for patterns of a method that match none of these layers."""
    idle = [p for p in patterns if not any(matches(n, p) for n in names)]
    if idle:
        leaves = ", ".join(sorted({n.rpartition(".")[2] for n in names}))
        raise ConfigError(
            f"{method} {key} {idle} name no linear layer; this model has {leaves}.",
            remedy=f"Set method.{key} to some of these, or to globs: '*.layers.0.*.q_proj'.",
        )


def of_layer(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first pattern that matches the end of the name as a regular expression."""
    for name, value in patterns.items():
        if re.match(rf"(.*\.)?({name})$", module):
            return value
    return default


def shortest_names(chosen: Sequence[str], linears: Sequence[str]) -> list[str]:
    """Last parts of the names where they match the same layers, else the whole names."""
    leaves = {_last(name) for name in chosen}
    meant = [name for name in linears if _last(name) in leaves]
    return sorted(leaves) if meant == list(chosen) else sorted(chosen)


def _last(name: str) -> str:
    """The last part of a name, with the one before it where it is a number."""
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]
