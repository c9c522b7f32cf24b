"""The loss of even use of experts: its formula, document by document, however they are packed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.engine.test_contract import assert_same_gradients, packed, rows, trainable
from tests.engine.test_experts import MIXED
from tests.families import make_exact, tiny_model
from tests.training.test_loop import run
from tests.training.tiny import plan, tensors, tiny_job
from tunesmith.config.run import RECOMPUTE
from tunesmith.core.errors import ConfigError
from tunesmith.data.dataset import block_of, dataset_of
from tunesmith.data.rows import TokenRow
from tunesmith.engine.pack import pack
from tunesmith.training.job import require_trained_routers

WEIGHT = 0.3


def routers_of(model):
    return [m for n, m in model.named_modules() if type(m).__name__.endswith("Router")]


def uneven(model, forward):
    """What a forward gives, and E sum f P of each router over it, summed."""
    seen = []
    routers = routers_of(model)
    handles = [r.register_forward_hook(lambda *parts: seen.append(parts[-1])) for r in routers]
    given = forward()
    for handle in handles:
        handle.remove()
    total = 0
    for scores, _, chosen in seen:
        count = scores.shape[-1]
        share = torch.nn.functional.one_hot(chosen, count).to(scores).mean(dim=(0, 1))
        total = total + count * (share * scores.softmax(dim=-1).mean(dim=0)).sum()
    return given, total


def reference(family, made):
    model = trainable(tiny_model(family))
    total = 0
    for row in made:
        out, balance = uneven(model, lambda ids=row.ids: model(input_ids=torch.tensor([ids])))
        out = out.logits[0]
        nll = torch.nn.functional.cross_entropy(
            out[:-1], torch.tensor(row.ids[1:]), reduction="none"
        )
        total = total + (nll * torch.tensor(row.weights[1:], dtype=nll.dtype)).sum()
        total = total + WEIGHT * len(row.ids) * balance
    total.backward()
    return {n: p.grad for n, p in model.named_parameters()}


def weighted(batch):
    return replace(batch, balance={None: WEIGHT})


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("family", MIXED)
def test_its_gradients_are_those_of_the_formula_row_by_row(family, recompute, monkeypatch):
    make_exact(monkeypatch)
    made = rows()
    expected = reference(family, made)
    for batches in ([pack(made)], [pack(made[:1]), pack(made[1:])]):
        _, _, _, found = packed(family, [weighted(each) for each in batches], recompute)
        assert_same_gradients(found, expected)


def test_without_it_no_gradient_changes():
    made = rows()
    _, _, _, plain = packed("olmoe", [pack(made)])
    _, _, _, found = packed("olmoe", [replace(pack(made), balance={})])
    assert all(torch.equal(found[name], grad) for name, grad in plain.items())


def unevenness(job):
    """Of the rows, each alone, a mean over routers; 1 where all experts are used alike."""
    engine, found = job.engine, []
    with torch.no_grad():
        for i in range(8):
            batch = job.batch([(i, job.rows[i])])
            found.append(uneven(engine.model, lambda b=batch: engine.hidden_states(b))[1])
    return float(torch.stack(found).mean()) / len(engine.routers)


def trained(folder, weight):
    job = tiny_job(folder, "full", held=False, family="olmoe", load_balance=weight)
    run(job, plan(steps=12))
    return unevenness(job)


def test_training_with_it_uses_experts_more_evenly(tmp_path):
    assert trained(tmp_path / "with", 1.0) < trained(tmp_path / "without", 0.0) - 0.05


def one_step(folder, tokens):
    """The weights after a step over rows with one beginning, so many tokens at a time."""
    job = tiny_job(folder, "full", held=False, family="olmoe", load_balance=1.0, rows_per_step=12)
    start = np.arange(3, 23, dtype=np.int32)
    rows = [
        TokenRow(np.r_[start, row.ids], np.r_[0 * start, row.weights], row.file, row.line)
        for row in map(job.rows.__getitem__, range(len(job.rows)))
    ]
    made = dataset_of([block_of(rows, range(len(rows)), ["rows.jsonl"])], ["rows.jsonl"])
    job = replace(job, rows=made)
    run(job, plan(steps=1, warmup=0, tokens_per_micro_batch=tokens))
    return tensors(job)


def test_rows_that_begin_alike_weigh_as_much_in_any_micro_batches(tmp_path):
    whole, apart = (one_step(tmp_path / str(tokens), tokens) for tokens in (10_000, 45))
    for name, weights in whole.items():
        torch.testing.assert_close(weights, apart[name], rtol=1e-3, atol=1e-4)


def test_it_is_refused_where_it_would_change_nothing(tmp_path):
    job = tiny_job(tmp_path, load_balance=0.1)
    with pytest.raises(ConfigError, match="no mixture of experts"):
        require_trained_routers(job.settings, job.engine, job.adapter)
    job = tiny_job(tmp_path, family="olmoe", load_balance=0.1)
    with pytest.raises(ConfigError, match="router is frozen") as refused:
        require_trained_routers(job.settings, job.engine, job.adapter)
    assert "[gate.weight]" in refused.value.remedy
