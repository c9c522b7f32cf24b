"""The vocabulary seam: an adapter's own rows for some tokens, in the embedding and in the head."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(slots=True, eq=False)
class TokenRows:
    """Rows for the tokens ``ids`` [K]: new ones, or in place of the base's.

    ``inputs`` and ``outputs`` [K, D] are the fp32 masters of embedding and head; one tensor where
    the base ties the two. Other documents of the stream neither read nor score new tokens.
    """

    ids: Tensor
    inputs: nn.Parameter
    outputs: nn.Parameter

    @property
    def width(self) -> int:
        """Ids that scores must have room for."""
        return int(self.ids.max()) + 1

    def read(self, embedded: Tensor, ids: Tensor, start: int) -> Tensor:
        """``embedded`` [T, D] with these rows where the tokens stand in ``ids``, rows start.. ."""
        at, which = (ids[:, None] == self.ids[None]).nonzero(as_tuple=True)
        rows = self.inputs.index_select(0, which).to(embedded.dtype)
        return embedded.index_copy(0, start + at, rows)

    def spread_(self, wide: Tensor, scores: Tensor, own: Tensor) -> Tensor:
        """Scores by token id: the base's [n, V] and these tokens' [n, K] into ``wide`` [n, W]."""
        vocabulary = scores.shape[1]
        wide[:, :vocabulary] = scores
        wide[:, vocabulary:] = -torch.inf
        wide[:, self.ids] = own.to(wide.dtype)
        return wide
