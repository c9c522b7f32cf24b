"""The ways of combining adapters by name."""

from collections.abc import Callable, Mapping

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
