"""KL(base || tuned) of packed documents and its gradient equal a plain reference, row by row."""

import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax

from tests.engine.test_contract import TOLERANCE, assert_same_gradients, rows, trainable
from tests.families import FAMILIES, make_exact, tiny_model
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import divergences
from tunesmith.engine.pack import Row, pack
from tunesmith.engine.vocabulary import TokenRows

WEIGHT = 0.3


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    make_exact(monkeypatch)


def moved_(model, seed=1):
    """The model after some training: every weight a little off."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
    return model


def logs_of(model, row):
    return log_softmax(model(input_ids=torch.tensor([row.ids])).logits[0], -1)


def reference(family, made):
    """Transformers' own forward twice, one row at a time: divergence and gradients."""
    base, tuned = tiny_model(family), trainable(moved_(tiny_model(family)))
    total = 0
    for row in made:
        with torch.no_grad():
            logs = logs_of(base, row)
        total = total + (logs.exp() * (logs - logs_of(tuned, row))).sum()
    (WEIGHT * total).backward()
    return (WEIGHT * total).detach(), {n: p.grad for n, p in tuned.named_parameters()}


def with_teachers(engine, made):
    """The rows with what the engine makes of each now, and no label."""
    with torch.no_grad():
        states = [engine.hidden_states(pack([row])) for row in made]
    nothing = [[0.0] * len(row.ids) for row in made]
    return [
        Row(row.ids, weights, row.adapter, row.key, teacher=state)
        for row, weights, state in zip(made, nothing, states, strict=True)
    ]


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_base_that_is_trained_itself(family, recompute):
    made = rows(common=5)
    total, grads = reference(family, made)
    model = tiny_model(family)
    engine = prepare_(model)
    batch = pack(with_teachers(engine, made), share=3)
    engine.base_head_weight = engine.head_weight.clone()
    trainable(moved_(model))
    hidden = engine.hidden_states(batch, recompute=recompute)
    found = divergences(hidden, batch, engine.head, weights={None: WEIGHT})[None]
    found.backward()
    torch.testing.assert_close(found.detach(), total, **TOLERANCE)
    assert_same_gradients({n: p.grad for n, p in model.named_parameters()}, grads)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_of_adapters_with_tokens_of_their_own_packed_and_alone(family):
    """Each has new rows of head and embedding; the teacher is the base without them."""
    engine = prepare_(tiny_model(family))
    teachers = with_teachers(engine, rows(lengths=(70, 33, 50), common=6))
    g = torch.Generator().manual_seed(2)
    for name in ("a", "b"):
        own = nn.Parameter(0.4 * torch.randn(2, 32, generator=g, dtype=torch.float64))
        engine.vocabularies[name] = TokenRows(torch.tensor([99, 5]), own, own)
    made = [
        Row(row.ids, row.weights, name, row.key, row.teacher)
        for row in teachers
        for name in ("a", "b")
    ]

    def found(batches):
        total = {"a": 0.0, "b": 0.0}
        for batch in batches:
            hidden = engine.hidden_states(batch)
            parts = divergences(hidden, batch, engine.head, weights={"a": WEIGHT, "b": 1.0})
            sum(parts.values()).backward()
            total = {name: each + parts.get(name, 0.0) for name, each in total.items()}
        return total, {n: tokens.inputs.grad for n, tokens in engine.vocabularies.items()}

    packed, grads = found([pack(made, share=3)])
    for tokens in engine.vocabularies.values():
        tokens.inputs.grad = None
    alone, theirs = found([pack([row]) for row in made])
    assert_same_gradients(grads, theirs)
    torch.testing.assert_close(packed, alone, **TOLERANCE)

    weight = torch.cat([engine.head_weight, engine.head_weight[:3] * 0]).detach()
    with torch.no_grad():
        own = engine.vocabularies["a"]
        weight[own.ids] = own.outputs
        total = 0.0
        for row in made[::2]:
            hidden = engine.hidden_states(pack([row]))
            wide = engine.head.finish_(hidden @ weight.t())[:, :100]
            wide[:, 97:99] = -torch.inf  # ids between the base's and the new one
            logs = log_softmax(engine.head.teacher.logits(row.teacher), -1)
            total += float((logs.exp() * (logs - log_softmax(wide, -1)[:, :97])).sum())
    assert float(packed["a"].detach()) == pytest.approx(WEIGHT * total, rel=1e-6)


def test_nothing_diverges_before_the_first_step():
    engine = prepare_(tiny_model("llama", torch.float32))
    batch = pack(with_teachers(engine, rows()))
    hidden = engine.hidden_states(batch).detach().requires_grad_()
    found = divergences(hidden, batch, engine.head, weights={None: 1.0})[None]
    found.backward()
    assert abs(float(found.detach())) < 1e-5
    assert float(hidden.grad.abs().max()) < 1e-6
