"""How a layer turns scores into probabilities: its scale, window, soft cap and sinks."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What one layer's attention does, for documents and for decode rows alike.

    ``sinks`` [H] are scores without a value: each takes its head's share of the probabilities.
    """

    layer: int
    scale: float
    window: int | None
    softcap: float | None
    sinks: Tensor | None = None
