"""Which linear layers a name matches: in our settings, and in PEFT's config."""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
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
    parameters: Sequence[str] = (),
) -> list[str]:
    """The layers that ``targets``, a key of a method, name; ConfigError where one names none.

    ``parameters`` are the base's experts and routers that the method may name by another key.
    """
    if targets == "all-linear":
        return list(linears)
    if (idle := _idle(targets, linears)) and parameters:
        raise ConfigError(
            f"{method} {key} {idle} name no linear layer; this model has {_leaves(linears)}. Its "
            f"experts are no linear layers but parameters: {', '.join(_shorter(parameters))}.",
            remedy=f"Set method.{key} to some of the layers, and method.target_parameters to some "
            "of the parameters.",
        )
    refuse_idle(method, key, targets, linears)
    return [n for n in linears if any(matches(n, t) for t in targets)]


def targeted_parameters(
    targets: Sequence[str], parameters: Sequence[str], *, method: str
) -> list[str]:
    """The experts and routers that ``targets`` name; ConfigError where one names none."""
    if idle := _idle(targets, parameters):
        has = ", ".join(_shorter(parameters)) or "no experts"
        raise ConfigError(
            f"{method} target_parameters {idle} name no parameter of experts or routers; this "
            f"model has {has}.",
            remedy="Set method.target_parameters to some of these."
            if parameters
            else "Leave out method.target_parameters: method.targets names the linear layers.",
        )
    return [n for n in parameters if any(matches(n, t) for t in targets)]


def refuse_idle(
    method: str, key: str, patterns: Sequence[str] | Mapping[str, object], names: Sequence[str]
) -> None:
    """Raise ConfigError for patterns of a method that match none of these layers."""
    if idle := _idle(patterns, names):
        raise ConfigError(
            f"{method} {key} {idle} name no linear layer; this model has {_leaves(names)}.",
            remedy=f"Set method.{key} to some of these, or to globs: '*.layers.0.*.q_proj'.",
        )


def _idle(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    return [p for p in patterns if not any(matches(n, p) for n in names)]


def _leaves(names: Sequence[str]) -> str:
    return ", ".join(sorted({n.rpartition(".")[2] for n in names}))


def _shorter(parameters: Sequence[str]) -> list[str]:
    """What is behind the number of the layer: `mlp.experts.down_proj`."""
    return list(dict.fromkeys(re.split(r"\.\d+\.", name)[-1] for name in parameters))


def shortest_parameters(chosen: Sequence[str], parameters: Sequence[str]) -> list[str]:
    """Names without what is before the layer where they match the same, else the whole names."""
    short = _shorter(chosen)
    meant = [name for name in parameters if any(matches(name, each) for each in short)]
    return sorted(short) if meant == list(chosen) else sorted(chosen)


def of_layer(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first pattern that matches the end of the name as a regular expression."""
    for name, value in patterns.items():
        if re.match(rf"(.*\.)?({name})$", module):
            return value
    return default


def shortest_names(chosen: Sequence[str], linears: Sequence[str]) -> list[str]:
    """Last parts of the names where they match the same layers, else the whole names."""
    leaves = {name.rpartition(".")[2] for name in chosen}
    meant = [name for name in linears if name.rpartition(".")[2] in leaves]
    return sorted(leaves) if meant == list(chosen) else sorted(chosen)
