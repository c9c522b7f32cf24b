"""Prefix tuning's MLP: keys and values = start + W2 tanh(W1 P' + b1) + b2 (2101.00190, 4.3).

The paper trains P' [P, D_in] and the MLP in place of the keys and values, and keeps only what the
MLP makes of P'. Here W2 and b2 start at zero, and what the keys and values started from is added:
so the first step sees exactly the start (a text's own keys and values), as it does without an MLP.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tunesmith.methods.adapter import Adapter

START, TOKENS = "projection.start", "projection.tokens"
W1, B1 = "projection.hidden.weight", "projection.hidden.bias"
W2, B2 = "projection.output.weight", "projection.output.bias"


def stacked(parts: Iterable[Tensor]) -> Tensor:
    """Keys and values of each layer, 2 L tensors [G, P, Dh] -> [P, 2 L, G, Dh], no gradient."""
    return torch.stack([part.detach().transpose(0, 1) for part in parts], 1)


def made_by(parameters: Mapping[str, Tensor]) -> Tensor:
    """The keys and values [P, 2 L, G, Dh] that an MLP makes, from its tensors by their names."""
    start = parameters[START]
    hidden = torch.tanh(linear(parameters[TOKENS], parameters[W1], parameters[B1]))  # [P, W]
    return start + linear(hidden, parameters[W2], parameters[B2]).view_as(start)


def reparameterised(adapter: Adapter, *, width: int, seed: int) -> Adapter:
    """The adapter with its parameters, 2 L keys and values [G, P, Dh], made by a trained MLP.

    Every micro-batch of a step reads the same tensors: ``refresh`` makes them, and ``gather``
    turns the sum of their gradients into the MLP's, by one backward through it.

    A step of Adam changes each product by the sum over a matrix's inputs, so that matrices learn at
    1 / inputs of the rate (2203.03466, table 3): keys and values then move about as far as they
    would by themselves, whatever the width, and the method's learning rate holds for both.
    """
    leaves = list(adapter.parameters.values())
    parameters = _new(stacked(leaves), width=width, seed=seed)

    def refresh() -> None:
        with torch.no_grad():
            for leaf, made in zip(leaves, made_by(parameters).unbind(1), strict=True):
                leaf.copy_(made.transpose(0, 1))
                leaf.grad = None
        adapter.refresh()

    def gather() -> None:
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        if not gradients:
            return
        for leaf in leaves:
            leaf.grad = None
        made_by(parameters).backward(stacked(gradients))  # type: ignore[no-untyped-call]

    refresh()
    return replace(
        adapter,
        parameters=parameters,
        refresh=refresh,
        gather=gather,
        rates={key: 1 / parameters[key].shape[1] for key in (W1, W2)},
    )


def _new(start: Tensor, *, width: int, seed: int) -> dict[str, nn.Parameter]:
    """An MLP of hidden width W beside ``start`` [P, 2 L, G, Dh], which is kept and not trained.

    P' is as wide as a layer's keys (D_in = G Dh) and, like the hidden layer, drawn as in PEFT.
    """
    _, parts, heads, head_width = start.shape
    inputs, outputs = heads * head_width, parts * heads * head_width
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(inputs)

    def uniform(*shape: int) -> Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1) * bound

    tensors = {
        TOKENS: torch.randn(len(start), inputs, generator=generator),
        W1: uniform(width, inputs),
        B1: uniform(width),
        W2: torch.zeros(outputs, width),
        B2: torch.zeros(outputs),
    }
    trained = {name: nn.Parameter(tensor.to(start)) for name, tensor in tensors.items()}
    return {START: nn.Parameter(start, requires_grad=False), **trained}
