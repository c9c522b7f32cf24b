"""Contract 1-3: packed == alone == transformers; accumulation == big batch; shared == repeated."""

import copy
from dataclasses import replace

import pytest
import torch

from tests.families import FAMILIES, make_exact, tiny_model
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine import attention
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum, losses_and_hits, row_losses
from tunesmith.engine.pack import Row, pack

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    make_exact(monkeypatch)


def rows(seed=0, lengths=(9, 3, 14, 6), common=0):
    g = torch.Generator().manual_seed(seed)
    head = torch.randint(3, 97, (common,), generator=g).tolist()
    made = []
    for i, n in enumerate(lengths):
        ids = head + torch.randint(3, 97, (n,), generator=g).tolist()
        weights = [0.0] + [float(x) for x in torch.randint(0, 3, (len(ids) - 1,), generator=g)]
        made.append(Row(ids, weights, key=i))
    return made


def trainable(model):
    for p in model.parameters():
        p.requires_grad_(True)
    return model


def reference(family, made):
    """Transformers' own forward, one row at a time: logits, loss and gradients."""
    model = trainable(tiny_model(family))
    logits, total = [], 0
    for row in made:
        out = model(input_ids=torch.tensor([row.ids])).logits[0]
        logits.append(out.detach())
        nll = torch.nn.functional.cross_entropy(
            out[:-1], torch.tensor(row.ids[1:]), reduction="none"
        )
        total = total + (nll * torch.tensor(row.weights[1:], dtype=nll.dtype)).sum()
    total.backward()
    return logits, total.detach(), {n: p.grad for n, p in model.named_parameters()}


def packed(family, batches, recompute="none"):
    model = tiny_model(family)
    engine = prepare_(model)
    trainable(model)
    total, hidden = 0, []
    for batch in batches:
        states = engine.hidden_states(batch, recompute=recompute)
        loss = loss_sum(states, batch, engine.head)
        loss.backward()
        total = total + loss.detach()
        hidden.append(states.detach())
    grads = {n: p.grad for n, p in model.named_parameters()}
    return engine, hidden, total, grads


def assert_same_gradients(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        torch.testing.assert_close(ours[name], grad, msg=lambda m, n=name: f"{n}: {m}", **TOLERANCE)


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_transformers_row_by_row(family, recompute):
    made = rows()
    logits, total, grads = reference(family, made)
    engine, (hidden,), ours, our_grads = packed(family, [pack(made)], recompute)
    expected = torch.cat(logits)
    torch.testing.assert_close(engine.head.logits(hidden), expected, **TOLERANCE)
    torch.testing.assert_close(ours, total, **TOLERANCE)
    assert_same_gradients(our_grads, grads)


@pytest.mark.parametrize("family", FAMILIES)
def test_micro_batches_add_up_and_order_does_not_matter(family):
    made = rows(1)
    _, _, big, grads = packed(family, [pack(made)])
    _, _, small, other = packed(
        family, [pack([made[2], made[0]]), pack([made[3]]), pack([made[1]])]
    )
    torch.testing.assert_close(small, big, **TOLERANCE)
    assert_same_gradients(other, grads)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_shared_beginning_equals_repeated_beginning(family, recompute):
    made = rows(2, common=7)
    plain, shared = pack(made), pack(made, share=4)
    assert len(shared.ids) == len(plain.ids) - 3 * 7
    assert len(shared.labels) == len(plain.labels)
    _, _, total, grads = packed(family, [plain])
    _, _, other, our_grads = packed(family, [shared], recompute)
    torch.testing.assert_close(other, total, **TOLERANCE)
    assert_same_gradients(our_grads, grads)


def test_row_losses_are_the_parts_of_the_sum():
    made = rows(3)
    engine, (hidden,), total, _ = packed("gemma2", [batch := pack(made)])
    parts = row_losses(hidden, batch, engine.head).double()
    torch.testing.assert_close((parts * batch.weights).sum(), total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_hits_are_the_labels_that_the_scores_make_the_most_likely(family):
    engine, (hidden,), _, _ = packed(family, [batch := pack(rows(4))])
    likely = engine.head.logits(hidden.index_select(0, batch.label_rows)).argmax(1)
    wanted = torch.arange(len(likely)) % 3 == 0
    batch = replace(batch, labels=torch.where(wanted, likely, (likely + 1) % 97))
    losses, hits = losses_and_hits(hidden, batch, engine.head)
    assert torch.equal(losses, row_losses(hidden, batch, engine.head))
    assert torch.equal(hits, wanted)


def test_a_call_without_a_stream_raises():
    model = copy.deepcopy(tiny_model("llama"))
    prepare_(model)
    with pytest.raises(RuntimeError, match="packed streams only"):
        model(input_ids=torch.tensor([[3, 4, 5]]))


@pytest.mark.parametrize("family", FAMILIES)
def test_long_documents_in_small_blocks_equal_transformers(family, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK_ROWS", 4)
    monkeypatch.setattr(attention, "KEEP_KEYS", 7)
    made = rows(5, common=5)
    _, total, grads = reference(family, made)
    _, _, ours, our_grads = packed(family, [pack(made, share=3)])
    torch.testing.assert_close(ours, total, **TOLERANCE)
    assert_same_gradients(our_grads, grads)
