"""What a base takes in memory while it is trained or trained over: whole, or sharded."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from tunesmith.models.four_bit import BLOCK

# Bytes of a 4-bit weight: its code; its share of a scale, which takes a byte, and of a scale of those.
_CODE, _SCALES = 0.5, 1 / BLOCK + 4 / (256 * BLOCK)
_MASTER = 4  # bytes of an fp32 number: a master, or its gradient
AHEAD = 2  # whole layers at once: the one in use, and the one that is fetched meanwhile


@dataclass(frozen=True, slots=True)
class BaseMemory:
    """Bytes of a base with gradients and optimizer states, without what a batch takes.

    ``sharded`` is what ranks hold in parts, ``replicated`` what each has, ``layer`` the largest
    layer as it is used.
    """

    sharded: int
    replicated: int
    layer: int

    @property
    def whole(self) -> int:
        """On a device that has all of it."""
        return self.sharded + self.replicated

    def of_rank(self, ranks: int) -> int:
        """On each of so many ranks: its part, and the layers that are whole while they are used."""
        return -(-self.sharded // ranks) + self.replicated + AHEAD * self.layer


def base_memory(
    model: PreTrainedModel, dtype: torch.dtype, *, four_bit: bool, state_bytes: float | None
) -> BaseMemory:
    """Of a model, which may be without weights, as it is held in ``dtype``.

    ``state_bytes`` are those of the optimizer's state of a weight; None where the base is frozen.
    """
    layers = model.get_decoder().layers
    sharded = replicated = 0.0
    sizes = []
    for layer in layers:
        codes = _codes(layer) if four_bit else 0
        plain = sum(p.numel() for p in layer.parameters()) - codes
        if state_bytes is not None:
            sharded += plain * (2 * _MASTER + state_bytes)
            sizes.append(plain * 2.0 * _MASTER)
            continue
        sharded += plain * dtype.itemsize + codes * _CODE
        replicated += codes * _SCALES
        sizes.append(plain * dtype.itemsize + codes * _CODE)
    inside = sum(p.numel() for p in layers.parameters())
    rest = sum(p.numel() for p in model.parameters()) - inside
    each = dtype.itemsize if state_bytes is None else 2 * _MASTER + state_bytes
    return BaseMemory(round(sharded), round(replicated + rest * each), round(max(sizes)))


def _codes(layer: nn.Module) -> int:
    """The weights of a layer that are kept as 4-bit codes."""
    return sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Linear))
