"""The ways of combining adapters by name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

from tunesmith.adapters.combine.dare import Dare, DareTies
from tunesmith.adapters.combine.knots import Knots
from tunesmith.adapters.combine.linear import Linear
from tunesmith.adapters.combine.magnitude import Magnitude
from tunesmith.adapters.combine.method import Method, Rule
from tunesmith.adapters.combine.sce import Sce
from tunesmith.adapters.combine.ties import Ties
from tunesmith.errors import UsageError

# Those that work entry by entry, which `knots` can apply in shared directions.
RULES: Mapping[str, Callable[..., Rule]] = {
    "ties": Ties,
    "dare": Dare,
    "dare-ties": DareTies,
    "magnitude": Magnitude,
    "sce": Sce,
}
METHODS: Mapping[str, Callable[..., Method]] = {"linear": Linear, "knots": Knots, **RULES}


def made(kind: str, density: float | None = None) -> Method:
    """The method of a name, with the density that it works at (None: its own).

    Of `knots` it is that of the TIES in shared directions. Raises UsageError for a name that none
    has, and for a density where there is none to set; ConfigError for one that keeps nothing.
    """
    if kind not in METHODS:
        raise UsageError(
            f"There is no way of combining called `{kind}`.",
            remedy=f"Take one of: {', '.join(METHODS)}.",
        )
    if density is None:
        return METHODS[kind]()
    if kind == "knots":
        return Knots(Ties(density))
    if kind not in RULES:
        raise UsageError(
            f"`{kind}` keeps every entry: it has no density.",
            remedy=f"Leave the density out, or take one of: {', '.join([*RULES, 'knots'])}.",
        )
    return RULES[kind](density=density)


def density_of(method: Method | Rule) -> float | None:
    """The share of entries that it keeps; None where it keeps all by itself."""
    rule = getattr(method, "rule", method)
    found: float | None = getattr(rule, "density", None)
    return found


def described(method: Method | Rule) -> dict[str, object]:
    """A method's name as ``kind`` with its settings, for a file."""
    kinds = {made: kind for kind, made in METHODS.items()}
    settings = {
        each.name: getattr(method, each.name) for each in dataclasses.fields(cast(Any, method))
    }
    if "rule" in settings:
        settings["rule"] = described(settings["rule"])
    return {"kind": kinds[type(method)], **settings}
