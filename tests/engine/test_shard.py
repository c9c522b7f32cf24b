"""A sharded base computes as a whole one: same losses, same gradients, half of its bytes a rank."""

import functools

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.families import FAMILIES, four_bit_model, tiny_model
from tests.ranks import all_of
from tests.training.tiny import dataset
from tunesmith.config import LoraSettings
from tunesmith.config.run import RECOMPUTE
from tunesmith.core import ranks
from tunesmith.core.errors import ModelError
from tunesmith.core.rank_work import by_first
from tunesmith.engine.forward import named_tensors, prepare_
from tunesmith.engine.head import loss_sum, row_losses
from tunesmith.engine.pack import Row, pack
from tunesmith.engine.shard import own_part, shard_
from tunesmith.methods import table

CPU = torch.device("cpu")


def layer_bytes(engine):
    """Bytes of a layer's parameters on this rank."""
    first = engine.model.get_decoder().layers[0]
    return sum(own_part(p).nbytes for p in first.parameters())


def steps(engine, settings, recompute="none", count=2):
    """The losses of some steps of plain gradient descent."""
    adapter = table.attach(engine, settings, seed=1)
    rows, found = dataset(), []
    for step in range(count):
        chosen = enumerate(rows[i] for i in range(4 * step, 4 * step + 4))
        packed = [Row(row.ids.tolist(), row.weights.tolist(), adapter.name, i) for i, row in chosen]
        batch = pack(packed, prefixes=engine.prefixes)
        hidden = engine.hidden_states(batch, recompute=recompute)
        loss = loss_sum(hidden, batch, engine.head, count=10.0)
        loss.backward()
        adapter.gather()
        with torch.no_grad():
            for parameter in adapter.trained.values():
                parameter.sub_(parameter.grad, alpha=0.05)
                parameter.grad = None
        adapter.refresh()
        found.append(loss.item())
    adapter.detach()
    return found


def sharded(make):
    engine = prepare_(make())
    before = layer_bytes(engine)
    shard_(engine.model, CPU)
    return engine, before


def losses_of(make, settings):
    engine, before = sharded(make)
    found = {recompute: steps(engine, settings, recompute) for recompute in RECOMPUTE}
    return layer_bytes(engine) / before, found


def assert_same_on_two_ranks(make, settings):
    alone = prepare_(make())
    expected = {recompute: steps(alone, settings, recompute) for recompute in RECOMPUTE}
    for share, found in all_of(2, lambda: losses_of(make, settings)):
        assert share == 0.5
        for recompute, losses in expected.items():
            assert found[recompute] == losses, recompute


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_ranks_hold_half_of_each_layer_and_compute_the_same(dtype):
    assert_same_on_two_ranks(lambda: tiny_model("llama", dtype), LoraSettings(rank=2))


def test_what_is_made_from_weights_sees_them_whole():
    settings = LoraSettings(rank=2, dora=True, init="pissa")
    assert_same_on_two_ranks(lambda: tiny_model("llama", torch.float32), settings)


def test_so_do_four_bit_codes(tmp_path, home):
    def make():
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, device_map={"": "cpu"}, attn_implementation="eager"
        ).eval()

    made = four_bit_model(tiny_model("llama", torch.float32), tmp_path)
    folder = made.name_or_path
    assert_same_on_two_ranks(make, LoraSettings(rank=2))


def scores_of(engine, count):
    """Some passes without gradients: the losses of rows."""
    rows, found = dataset(), []
    for i in range(count):
        batch = pack([Row(rows[i].ids.tolist(), rows[i].weights.tolist(), None, i)], prefixes={})
        with torch.no_grad():
            found.append(row_losses(engine.hidden_states(batch), batch, engine.head).sum().item())
    return found


def test_ranks_may_make_different_numbers_of_passes_without_gradients():
    def work():
        engine, _ = sharded(functools.partial(tiny_model, "llama", torch.float32))
        if not ranks.is_first():
            return [by_first(list), ranks.gather(scores_of(engine, 4)), ranks.gather(None)][1]
        by_first(lambda: scores_of(engine, 3), patient=True)
        return [ranks.gather(scores_of(engine, 6)), ranks.gather(scores_of(engine, 1))][0]

    expected = scores_of(prepare_(tiny_model("llama", torch.float32)), 6)
    for found in all_of(4, work):
        assert found == [expected, *3 * [expected[:4]]]


def test_one_rank_may_read_the_whole_weights():
    def work():
        engine, _ = sharded(functools.partial(tiny_model, "llama", torch.float32))
        return by_first(lambda: {name: t.tolist() for name, t in named_tensors(engine)})

    alone = prepare_(tiny_model("llama", torch.float32))
    expected = {name: tensor.tolist() for name, tensor in named_tensors(alone)}
    assert all_of(2, work) == [expected, expected]


def test_layers_that_share_weights_are_refused():
    model = tiny_model("llama", torch.float32)
    first, second, *_ = model.get_decoder().layers
    second.mlp = first.mlp
    with pytest.raises(ModelError, match="its layers share weights"):
        shard_(model, CPU)


def families():
    settings, found = LoraSettings(rank=2), {}
    for family in FAMILIES:
        make = functools.partial(tiny_model, family, torch.float32)
        alone = steps(prepare_(make()), settings)
        engine, before = sharded(make)
        found[family] = alone, steps(engine, settings), layer_bytes(engine) / before
    return found


@pytest.mark.slow
def test_every_family_can_be_sharded():
    for found in all_of(2, families):
        for family, (alone, together, share) in found.items():
            assert together == alone, family
            assert share == pytest.approx(0.5, abs=1e-3), family  # 1 of 2 rows, of odd numbers
