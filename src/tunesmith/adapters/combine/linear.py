"""Linear combination, task arithmetic: sum_i w_i s_i B_i A_i, exactly (arXiv 2212.04089).

A negative weight takes a skill away. Summing A and B themselves would be something else:
(B1 + B2)(A1 + A2) has the cross terms B1 A2 + B2 A1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.adapters.combine.method import Layer
from tunesmith.adapters.products import Product, concatenated


@dataclass(frozen=True, slots=True)
class Linear:
    """The sum as one product of the sum of the ranks; a single adapter stays as it is."""

    def combine(self, deltas: Sequence[Product], layer: Layer, /) -> Product:  # noqa: ARG002
        """[w1 s1 B1, w2 s2 B2, ...] [A1; A2; ...]."""
        alone = len(deltas) == 1 and deltas[0].scale > 0
        return deltas[0] if alone else concatenated(deltas)
