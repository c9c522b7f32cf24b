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

# Those that work entry by entry, which `knots` can apply in shared directions.
RULES: Mapping[str, Callable[..., Rule]] = {
    "ties": Ties,
    "dare": Dare,
    "dare-ties": DareTies,
    "magnitude": Magnitude,
    "sce": Sce,
}
METHODS: Mapping[str, Callable[..., Method]] = {"linear": Linear, "knots": Knots, **RULES}


def described(method: Method | Rule) -> dict[str, object]:
    """A method's name as ``kind`` with its settings, for a file."""
    kinds = {made: kind for kind, made in METHODS.items()}
    settings = {
        each.name: getattr(method, each.name) for each in dataclasses.fields(cast(Any, method))
    }
    if "rule" in settings:
        settings["rule"] = described(settings["rule"])
    return {"kind": kinds[type(method)], **settings}
