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
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
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
