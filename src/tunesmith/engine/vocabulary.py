"""The vocabulary seam: token ids to embeddings, and an adapter's own rows for some tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.core.errors import ModelError
from tunesmith.engine.autograd import Context, Gradients, apply, gradient_of
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.device import send


@dataclass(slots=True, eq=False)
class TokenRows:
    """Rows for the tokens ``ids`` [K]: new ones, or replacements of the base's.

    ``inputs`` and ``outputs`` [K, D] are the fp32 masters of embedding and head; one tensor where
    the base ties the two. Other documents of the stream neither read nor score new tokens.
    """

    ids: Tensor
    inputs: nn.Parameter
    outputs: nn.Parameter
    width: int = field(init=False)  # the number of ids that scores must cover
    _on_host: Tensor = field(init=False)  # the ids; a device would have to be waited for

    def __post_init__(self) -> None:
        self._on_host = self.ids.cpu()
        self.ids = self._on_host.to(self.inputs.device)
        self.width = int(self._on_host.max()) + 1

    def find(self, ids: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Where the tokens occur in ``ids``, rows start.. of a stream, and which of them; on the
        CPU, as the ids are.
        """
        at, which = (ids[:, None] == self._on_host[None]).nonzero(as_tuple=True)
        return start + at, which

    def put(self, embedded: Tensor, at: Tensor, which: Tensor) -> Tensor:
        """``embedded`` [T, D] with these rows where ``find`` found them."""
        rows = self.inputs.index_select(0, which).to(embedded.dtype)
        return embedded.index_copy(0, at, rows)

    def spread_(self, wide: Tensor, scores: Tensor, own: Tensor) -> Tensor:
        """Scores by token id: the base's [n, V] and these tokens' [n, K] into ``wide`` [n, W]."""
        vocabulary = scores.shape[1]
        wide[:, :vocabulary] = scores
        wide[:, vocabulary:] = -torch.inf
        wide[:, self.ids] = own.to(wide.dtype)
        return wide


def check_embedding(module: nn.Module) -> nn.Embedding:
    """The module, if its output is rows of its weight times one number; else ModelError."""
    plain = isinstance(module, nn.Embedding) and module.max_norm is None
    if not plain or not (type(module) is nn.Embedding or hasattr(module, "embed_scale")):
        raise ModelError(
            f"{type(module).__name__} is an embedding that is not implemented.",
            remedy="This model family is not supported yet.",
        )
    assert isinstance(module, nn.Embedding)
    return module


def lookup(
    module: nn.Embedding, batch: PackedBatch, vocabularies: Mapping[str, TokenRows]
) -> Tensor:
    """The stream's ids [T] -> [T, D], scaled inside the module where the family does so (gemma).

    Raises IndexError for an id that neither the base nor the document's adapter has a row for.
    """
    base, on_host = batch.ids, batch.on_host.ids
    owned = [(vocabularies[a], i, j) for a, i, j in batch.segments if a and a in vocabularies]
    found = [place for rows, i, j in owned for place in rows.find(on_host[i:j], i)]
    places = iter(send(found, base.device))
    own = [(tokens, next(places), next(places)) for tokens, _, _ in owned]
    if own:
        base = base.clone()
        for _, at, _ in own:
            base.index_fill_(0, at, 0)
    embedded = apply(_Rows, module.weight, base, module.padding_idx)
    for tokens, at, which in own:
        embedded = tokens.put(embedded, at, which)
    scale: Tensor | None = getattr(module, "embed_scale", None)
    return embedded if scale is None else embedded * scale.to(embedded.dtype)


class _Rows(torch.autograd.Function):
    """weight[ids]; the gradient is added to the rows of weight.grad, never a second [V, D]."""

    @staticmethod
    def forward(ctx: Context, weight: Tensor, ids: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.plan = (weight, padding)
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        (ids,) = ctx.saved_tensors
        weight, padding = ctx.plan
        if padding is not None:  # torch's embedding does not train the padding row
            g = g.masked_fill((ids == padding)[:, None], 0.0)
        total = gradient_of(weight)
        total.index_add_(0, ids, g.to(total.dtype))
        return None, None, None
