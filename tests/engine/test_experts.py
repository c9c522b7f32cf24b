"""Experts give their formula, gradients and adapters' terms included; the slow loop is here."""

from itertools import product

import pytest
import torch
from torch import nn

from tests.families import FAMILIES, TRAITS, make_exact, tiny_model
from tunesmith.engine import groups
from tunesmith.engine.batch import within
from tunesmith.engine.forward import prepare_
from tunesmith.engine.groups import RowGroups
from tunesmith.engine.pack import Row, pack
from tunesmith.engine.term import Term

RANK, CHOICES = 2, 2
LENGTHS = (("a", 4), (None, 3), ("b", 5), ("a", 2))  # documents of two adapters and of none
EXACT = {"rtol": 1e-9, "atol": 1e-9}
MIXED = [family for family in FAMILIES if "experts" in TRAITS[family]]


def drawn(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def plain_experts(module, stacks, x, chosen, weights, terms):
    """Token by token: each expert's own W + s B A, where its adapter has terms."""
    rows = []
    for t, own in enumerate(terms):
        total = torch.zeros_like(x[t])
        for k, e in enumerate(chosen[t].tolist()):
            made = []
            for which, stack in enumerate(stacks):
                weight = stack.oriented(stack.weight)[e]
                if own is not None:
                    term = own[which]
                    a = term.a.view(stack.experts, -1, stack.in_features)[e]
                    b = term.b.view(stack.out_features, -1, stack.experts)[:, :, e]
                    weight = weight + term.scale * b @ a
                made.append(weight)
            up, down = made
            h = up @ x[t] + (0 if stacks[0].bias is None else stacks[0].bias[e])
            y = down @ module._apply_gate(h[None])[0]
            y = y + (0 if stacks[1].bias is None else stacks[1].bias[e])
            total = total + weights[t, k] * y
        rows.append(total)
    return torch.stack(rows)


def packed():
    rows = [Row([1] * n, [0.0] * n, adapter=a, key=i) for i, (a, n) in enumerate(LENGTHS)]
    stream = pack(rows)
    assert {name for name, _, _ in stream.segments} == {"a", "b", None}
    return stream


def names_of(stream):
    return [name for name, start, stop in stream.segments for _ in range(start, stop)]


def terms_of(stacks, seed):
    made = []
    for number, stack in enumerate(stacks):
        rows, own = stack.experts * RANK, 10 * seed + number
        a, b = drawn(rows, stack.in_features, seed=own), drawn(stack.out_features, rows, seed=-own)
        made.append(Term(nn.Parameter(a), nn.Parameter(b), 0.7, experts=stack.experts))
    return made


@pytest.mark.parametrize(("family", "few"), product(MIXED, (False, True)))
def test_experts_equal_the_loop_with_every_gradient(family, few, monkeypatch):
    make_exact(monkeypatch)
    engine = prepare_(tiny_model(family))
    stacks = [s for name, s in engine.experts.items() if ".layers.1." in name]
    module = stacks[0].module
    stream = packed()
    count = len(stream.ids)
    x = drawn(count, stacks[0].in_features, seed=1).requires_grad_()
    weights = drawn(count, CHOICES, seed=2).abs().requires_grad_()
    experts = 2 if few else stacks[0].experts  # of the others no token chooses any
    order = torch.argsort(drawn(count, experts, seed=3), dim=1)
    chosen = order[:, :CHOICES]
    terms = {name: terms_of(stacks, seed) for seed, name in enumerate("ab", start=1)}
    for name, pair in terms.items():
        for stack, term in zip(stacks, pair, strict=True):
            stack.terms[name] = term
    base = [p.requires_grad_() for p in module.parameters()]
    masters = [m for pair in terms.values() for term in pair for m in (term.a, term.b)]
    g = drawn(count, stacks[0].in_features, seed=4)

    def gradients(y):
        return torch.autograd.grad(y, [x, weights, *base, *masters], g)

    with within(stream):
        mine = module(x, chosen, weights)
        ours = gradients(mine)
    own = [terms.get(name) for name in names_of(stream)]
    expected = plain_experts(module, stacks, x, chosen, weights, own)
    torch.testing.assert_close(mine, expected, **EXACT)
    for mine_, theirs in zip(ours, gradients(expected), strict=True):
        torch.testing.assert_close(mine_, theirs, **EXACT)


def test_a_call_outside_a_stream_raises():
    engine = prepare_(tiny_model("mixtral"))
    module = next(iter(engine.experts.values())).module
    with pytest.raises(RuntimeError, match="outside a packed stream"):
        module(drawn(3, 32, seed=0), torch.zeros(3, 2, dtype=torch.long), drawn(3, 2, seed=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_grouped_kernel_gives_what_the_loop_gives(dtype, monkeypatch):
    numbers = torch.tensor([0, 0, 0, 2, 2, 3, 3, 3, 3, 5])
    rows = RowGroups.of(numbers, 6)
    assert rows.spans == [(0, 0, 3), (2, 3, 5), (3, 5, 9), (5, 9, 10)]
    x, g = (drawn(10, 16, seed=seed).to(dtype) for seed in (0, 1))
    matrices = drawn(6, 16, 16, seed=2).to(dtype)
    loop = groups.product(x, matrices, rows), groups.outer(g, x, rows)
    monkeypatch.setattr(groups, "_has_kernel", lambda *_: True)
    kernel = groups.product(x, matrices, rows), groups.outer(g, x, rows)
    for a, b in zip(loop, kernel, strict=True):
        torch.testing.assert_close(a, b)


def test_a_router_that_is_asked_for_gets_terms_on_its_adapters_rows_only():
    engine = prepare_(tiny_model("qwen3_moe"))
    seam = next(iter(engine.routers.values()))
    a, b = drawn(RANK, seam.in_features, seed=1), drawn(seam.out_features, RANK, seed=2)
    seam.terms["a"] = Term(nn.Parameter(a), nn.Parameter(b), 0.5)
    stream = packed()
    x = drawn(len(stream.ids), seam.in_features, seed=3)
    with within(stream):
        logits, _, _ = seam.module(x)
    mine = torch.tensor([name == "a" for name in names_of(stream)])
    torch.testing.assert_close(logits[~mine], x[~mine] @ seam.weight.t(), **EXACT)
    merged = seam.merged(seam.terms["a"], seam.weight)
    torch.testing.assert_close(logits[mine], x[mine] @ merged.t(), **EXACT)
