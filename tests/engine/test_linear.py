"""The weights seam gives its formula, and the backward written by hand is the formula's own."""

from itertools import product

import pytest
import torch
from torch import nn

from tunesmith.engine.batch import Dropout, within
from tunesmith.engine.linear import SeamLinear
from tunesmith.engine.pack import Row, pack
from tunesmith.engine.term import Term
from tunesmith.methods.lora import plain_forward
from tunesmith.methods.lora_variants import RowNorms

WIDE, HIGH, RANK = 5, 4, 2
LENGTHS = {"a": 3, "b": 6, None: 2, "c": 1}  # tokens of each adapter's document; c has no term
EXACT = {"rtol": 1e-10, "atol": 1e-10}
# A and B; o; i; whether o scales the bias too; whether there is a bias; whether inputs are dropped.
CASES = [
    case
    for case in product((True, False), (None, "plain", "norms"), *[(True, False)] * 4)
    if (case[0] or case[1] != "norms") and (case[1] == "plain" or not case[3])
    if case[0] or not case[5]
]


def drawn(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def master(*shape, seed):
    return nn.Parameter(drawn(*shape, seed=seed))


def layer(*, bias):
    linear = nn.Linear(WIDE, HIGH, bias=bias, dtype=torch.float64)
    for number, parameter in enumerate(linear.parameters()):
        parameter.data = drawn(*parameter.shape, seed=number)
    return SeamLinear(linear.requires_grad_(False), "layer", 3)


def term(linear, seed, *, low=False, output=None, inputs=False, **others):
    made = Term(scale=1.5, **others)
    if low:
        made.a, made.b = master(RANK, WIDE, seed=seed), master(HIGH, RANK, seed=seed + 1)
    if output:
        made.output = master(HIGH, seed=seed + 2)
    if output == "norms":
        made.norms = RowNorms(linear.dense)
    if inputs:
        made.input = master(WIDE, seed=seed + 3)
    made.refresh()
    return made


def stream(**dropout):
    made = [
        Row([1] * n, [0.0] * n, adapter=name, key=i) for i, (name, n) in enumerate(LENGTHS.items())
    ]
    return pack(made, dropout=dropout)


def plain(x, linear, made, mask):
    """The formula of engine/term.py for the rows of one adapter, step by step."""
    bias = 0 if linear.bias is None else linear.bias
    y = (x if made.input is None else x * made.input) @ linear.weight.t()
    if made.a is not None:
        y = y + made.scale * ((x * mask) @ made.a.t() @ made.b.t())
    if made.output is None:
        return y + bias
    factors = made.output
    if made.norms is not None:
        merged = linear.weight + made.scale * made.b.detach() @ made.a.detach()
        factors = factors / merged.norm(dim=1)
    return factors * (y + bias) if made.whole else factors * y + bias


def gradients(y, tensors):
    weights = drawn(*y.shape, seed=77)
    return torch.autograd.grad((y * weights).sum(), tensors, retain_graph=True)


@pytest.mark.parametrize(("low", "output", "inputs", "whole", "bias", "drops"), CASES)
def test_every_part_of_a_term_gives_the_formula_and_its_gradients(
    low, output, inputs, whole, bias, drops
):
    linear = layer(bias=bias)
    parts = {"low": low, "output": output, "inputs": inputs, "whole": whole}
    rate = 0.5 if drops else 0.0
    linear.terms = {
        name: term(linear, 10 * i, **parts, dropout=rate) for i, name in enumerate("ab", 1)
    }
    batch = stream(a=Dropout(1, 2), b=Dropout(3, 4)) if drops else stream()
    x = drawn(sum(LENGTHS.values()), WIDE, seed=5).requires_grad_()
    with within(batch):
        found = linear(x[None])[0]
    rows = []
    for adapter, start, stop in batch.segments:
        own = x[start:stop]
        if adapter not in linear.terms:
            rows.append(own @ linear.weight.t() + (linear.bias if bias else 0))
            continue
        made = linear.terms[adapter]
        mask = batch.mask(adapter, slice(start, stop), module=3, rate=made.dropout)
        rows.append(plain(own, linear, made, mask(own) if mask else 1.0))
    expected = torch.cat(rows)
    torch.testing.assert_close(found, expected, **EXACT)
    masters = [m for each in linear.terms.values() for m in each.masters if m is not None]
    for one, other in zip(
        gradients(found, [x, *masters]), gradients(expected, [x, *masters]), strict=True
    ):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("bias", [True, False])
def test_merged_weight_and_bias_give_the_formula_too(bias):
    for low, output, inputs, whole in {case[:4] for case in CASES}:
        linear = layer(bias=bias)
        made = term(linear, 9, low=low, output=output, inputs=inputs, whole=whole)
        if output == "norms" and inputs:
            continue  # the norms are of W + s B A, without an i: no method has both
        x = drawn(7, WIDE, seed=5)
        y = x @ made.merged(linear.weight).t()
        y = y + made.merged_bias(linear.bias) if bias else y
        torch.testing.assert_close(y, plain(x, linear, made, 1.0), **EXACT)


@pytest.mark.parametrize("bias", [True, False])
def test_lora_is_the_plain_forward(bias):
    linear = layer(bias=bias)
    linear.terms = {name: term(linear, 10 * i, low=True) for i, name in enumerate("ab", 1)}
    batch = stream()
    x = drawn(sum(LENGTHS.values()), WIDE, seed=5).requires_grad_()
    with within(batch):
        fast = linear(x[None])[0]
    for adapter, start, stop in batch.segments:
        if adapter not in linear.terms:
            continue
        a, b = linear.terms[adapter].a, linear.terms[adapter].b
        expected = plain_forward(x[start:stop], linear.weight, linear.bias, a, b, scale=1.5)
        torch.testing.assert_close(fast[start:stop], expected, **EXACT)
        for one, other in zip(
            gradients(fast[start:stop], [x, a, b]), gradients(expected, [x, a, b]), strict=True
        ):
            torch.testing.assert_close(one, other, **EXACT)


def test_x_is_kept_only_where_something_needs_it():
    linear, batch = layer(bias=False), stream()
    x = drawn(sum(LENGTHS.values()), WIDE, seed=5)
    for parts, expected in (
        ({"low": True}, True),
        ({"inputs": True}, True),
        ({"output": "plain"}, False),
    ):
        linear.terms = {"a": term(linear, 10, **parts)}
        kept = []
        hooks = torch.autograd.graph.saved_tensors_hooks(kept.append, lambda none: none)
        with hooks, within(batch):
            linear(x[None])
        assert any(each.shape == x.shape for each in kept) is expected


def test_dropout_keeps_the_mean_of_what_it_drops_from():
    batch = pack([Row([1] * 200, [0.0] * 200, adapter="a", key=1)], dropout={"a": Dropout(1, 2)})
    factors = batch.mask("a", slice(0, 200), module=3, rate=0.25)(torch.ones(200, WIDE))
    assert sorted(factors.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert abs(float(factors.mean()) - 1) < 0.05
