"""Where A [R, D_in] and B [D_out, R] of LoRA start, for a weight W [D_out, D_in] and scale s.

PiSSA and OLoRA move a part of W into the adapter: W stays as it is, and the start is
subtracted beside it, s (B A - B0 A0).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Start = Callable[[Tensor, int, float, int], tuple[Tensor, Tensor]]
OVERSAMPLES, POWERS = 8, 4  # of the randomised decomposition


def uniform(shape: tuple[int, int], rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """A uniform in +-1/sqrt(D_in), B = 0: the base as it is, for a weight of this shape."""
    bound = 1 / math.sqrt(shape[1])
    generator = torch.Generator().manual_seed(seed)
    a = torch.empty(rank, shape[1]).uniform_(-bound, bound, generator=generator)
    return a, torch.zeros(shape[0], rank)


def pissa(weight: Tensor, rank: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """PiSSA: the R largest singular values of W, s B A = U S V^T (arXiv 2404.02948, equation 2)."""
    return principal(weight.float(), rank, scale, seed)


def olora(weight: Tensor, rank: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """OLoRA: orthonormal B, from W = Q R: B = Q[:, :R], A = R[:R] (arXiv 2406.01775, section 3)."""
    q, r = torch.linalg.qr(weight.float())
    return r[:rank].contiguous(), q[:, :rank].contiguous()


def principal(matrix: Tensor, rank: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """A and B with s B A the best approximation of rank R, by randomised subspace iteration.

    Of what 4 bit took from W it is LoftQ's start with one step (arXiv 2310.08659, equation 8).
    """
    width = min(rank + OVERSAMPLES, *matrix.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        u, s, v = torch.svd_lowrank(matrix, q=width, niter=POWERS)
    roots = (s[:rank] / scale).sqrt()
    return (v[:, :rank] * roots).t().contiguous(), (u[:, :rank] * roots).contiguous()


# Starts that take a part of W into the adapter, by the name that method.start has.
TAKEN: dict[str, Start] = {"pissa": pissa, "olora": olora}
