"""LoRA: y = W x + (alpha / rank) B A x, with W frozen (arXiv 2106.09685, section 4.1).

``plain_forward`` is all of it. `engine/linear.SeamLinear` computes the same for the adapters of a
whole stream, its gradients written out; `engine/term.Term` is what it is given for one layer.
What settings choose (layers, ranks, rsLoRA, DoRA, other starts) is in lora_variants.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import Engine
from tunesmith.engine.term import Term
from tunesmith.methods.adapter import PREFIX, Adapter, beside
from tunesmith.methods.lora_parameters import wrappers

# Extends a new term of a layer, by a seed; returns its parameters besides A and B, by name.
Extend = Callable[[str, Term, int], Mapping[str, nn.Parameter]]


def plain_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, *, scale: float
) -> Tensor:
    """LoRA in its plain form, [T, D_in] -> [T, D_out]."""
    base = x @ weight.t()  # W [D_out, D_in] is frozen
    low = x @ a.t() @ b.t()  # A [R, D_in], B [D_out, R]: [T, D_in] -> [T, R] -> [T, D_out]
    y = base + scale * low
    return y if bias is None else y + bias


@dataclass(frozen=True, slots=True)
class Shape:
    """Rank and scale of the term beside one layer."""

    rank: int
    alpha: float
    scale: float


def key_a(module: str) -> str:
    """PEFT's name of A [R, D_in] beside a linear layer."""
    return f"{PREFIX}{module}.lora_A.weight"


def key_b(module: str) -> str:
    """PEFT's name of B [D_out, R] beside a linear layer."""
    return f"{PREFIX}{module}.lora_B.weight"


def attach(
    engine: Engine,
    settings: LoraSettings,
    shapes: Mapping[str, Shape],
    *,
    name: str,
    seed: int,
    extend: Extend,
) -> Adapter:
    """Put a new adapter beside what ``shapes`` names; equals the base at first.

    Beside a stack of E experts A is [E R, D_in] and B [D_out, R E], as PEFT has them.
    """
    terms: dict[str, Term] = {}
    parameters: dict[str, nn.Parameter] = {}
    seams = engine.seams
    path = {n: n for n in shapes} | wrappers([n for n in shapes if n in engine.parameters])
    for module, shape in shapes.items():
        seam, own = seams[module], _seed(f"{seed}:{module}")
        rows = shape.rank * (seam.experts or 1)
        starts = uniform((seam.out_features, seam.in_features), rows, own)
        a, b = (nn.Parameter(each.to(seam.weight.device)) for each in starts)
        terms[module] = term = Term(a, b, shape.scale, settings.dropout, experts=seam.experts)
        parameters |= {key_a(path[module]): a, key_b(path[module]): b}
        parameters |= extend(module, term, own)
    rates = {key_b(path[module]): settings.loraplus_lr_ratio for module in terms}
    return beside(engine, terms, parameters, name=name, settings=settings, rates=rates)


def uniform(shape: tuple[int, int], rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """A uniform in +-1/sqrt(D_in) and B = 0 for a W [D_out, D_in]: the base as it is."""
    bound = 1 / math.sqrt(shape[1])
    generator = torch.Generator().manual_seed(seed)
    a = torch.empty(rank, shape[1]).uniform_(-bound, bound, generator=generator)
    return a, torch.zeros(shape[0], rank)


def _seed(key: str) -> int:
    """Of a generator for one layer, so that other layers do not change its start."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little")
