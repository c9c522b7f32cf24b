"""From a combined delta back to a LoRA of a rank, with what that loses."""

import math
from dataclasses import dataclass, field

import torch

from tunesmith.adapters.products import Delta, Product
from tunesmith.errors import AdapterError, ConfigError


@dataclass(frozen=True, slots=True)
class Fit:
    """How a delta becomes s B A.

    ``rank`` at most; None keeps the rank that the method gives. ``exact``: by the whole singular
    value decomposition of a dense delta, in place of randomised subspace iteration (arXiv
    0909.4061, algorithm 4.4). ``dtype``: of A and B as they are stored; None: the widest format
    of the adapters.
    """

    rank: int | None = None
    exact: bool = False
    dtype: torch.dtype | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ConfigError(f"rank is {self.rank}.", remedy="Set it to 1 or more.")


@dataclass(slots=True)
class Errors:
    """||D - s B A|| / ||D||: what the rank and the number format lose, by layer and overall."""

    layers: dict[str, float] = field(default_factory=dict)
    _lost: float = 0.0
    _whole: float = 0.0

    def add(self, layer: str, delta: Delta, product: Product) -> None:
        """Measure one layer, against the numbers that are stored."""
        lost, whole = delta.distance(product), delta.norm()
        self.layers[layer] = _share(lost, whole)
        self._lost += lost**2
        self._whole += whole**2

    @property
    def overall(self) -> float:
        """Of all layers together, as if they were one matrix."""
        return _share(math.sqrt(self._lost), math.sqrt(self._whole))


def fitted(delta: Delta, fit: Fit) -> Product:
    """The delta as a product of at most ``fit.rank``, or of its own where it needs no more.

    Raises ConfigError for a dense delta without a rank, AdapterError for numbers that are too
    large for ``fit.dtype``.
    """
    rank = fit.rank or delta.rank
    if rank is None:
        raise ConfigError(
            "What this method gives is dense, and no LoRA of a small rank.",
            remedy="Give the rank that it is cut to, or merge the combination into the base.",
        )
    product = delta.nearest(rank, exact=fit.exact, seed=fit.seed).to(fit.dtype or delta.dtype)
    if not (product.a.isfinite().all() and product.b.isfinite().all()):
        raise AdapterError(
            f"The combination has numbers that {product.dtype} cannot hold.",
            remedy="Save it in float32, or give smaller weights.",
        )
    return product


def _share(lost: float, whole: float) -> float:
    return lost / whole if whole else math.inf if lost else 0.0
