"""Contract 4, for every method and family: starts as the base, trains only its own tensors."""

import hashlib

import pytest
import torch

from tests.covering import pairs
from tests.families import FAMILIES, TRAITS, tiny_model
from tests.variants import TEXT, VARIANTS, VIRTUAL, attach, engine_for
from tunesmith.config.methods import FullSettings, LoraSettings
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine.batch import Dropout
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table


def rows(adapter, count=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = []
    for i in range(count):
        ids = torch.randint(3, 97, (5 + 3 * i,), generator=g).tolist()
        made.append(Row(ids, [0.0] + [1.0] * (len(ids) - 1), adapter=adapter, key=i))
    return made


def base_digest(model, own=()):
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def name_of(adapter):
    return adapter.name if adapter.frozen_base else None


def test_every_method_of_the_table_is_held_to_the_contract():
    assert {settings.kind for settings in VARIANTS.values()} == table.METHODS.keys()


def states(engine, made, *, text=(), recompute="none"):
    """Hidden states of the rows' own tokens and the loss, each row behind ``text``."""
    longer = [
        Row([*text, *row.ids], [0.0] * len(text) + row.weights, adapter=row.adapter, key=row.key)
        for row in made
    ]
    batch = pack(longer, prefixes=engine.prefixes)
    hidden = engine.hidden_states(batch, recompute=recompute)
    own = [hidden[d.start + len(text) : d.stop] for d in batch.documents if d.virtual is None]
    return torch.cat(own), loss_sum(hidden, batch, engine.head)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("family", "variant"), pairs(FAMILIES, VARIANTS))
def test_starts_as_the_base_and_trains_only_its_own_tensors(family, variant, tmp_path):
    engine = engine_for(family, variant, tmp_path / "base")
    before = base_digest(engine.model)
    bare, _ = states(engine, rows(None))
    adapter = attach(engine, variant, tmp_path / "base")
    text = TEXT if variant in VIRTUAL else []
    base, _ = states(engine, rows(None), text=text)
    mine = rows(name_of(adapter))
    hidden, loss = states(engine, mine)
    if variant == "loftq":  # what 4 bit took is given back in part
        dense, _ = states(prepare_(tiny_model(family, torch.float32)), rows(None))
        assert (hidden - dense).norm() < 0.9 * (base - dense).norm()
    else:
        torch.testing.assert_close(hidden, base, rtol=1e-5, atol=1e-5)
    loss.backward()
    adapter.gather()
    own = {id(p) for p in adapter.trained.values()}
    strangers = [
        n for n, p in engine.model.named_parameters() if p.grad is not None and id(p) not in own
    ]
    assert not strangers
    assert all(p.grad is not None for p in adapter.trained.values())
    torch.optim.AdamW(list(adapter.trained.values()), lr=0.1).step()
    adapter.refresh()
    assert not torch.allclose(states(engine, mine)[0], hidden, atol=1e-3), "nothing was learned"
    if adapter.frozen_base:
        assert base_digest(engine.model) == before
        torch.testing.assert_close(states(engine, rows(None))[0], bare)
        adapter.detach()
        torch.testing.assert_close(states(engine, mine)[0], bare)


@pytest.mark.parametrize(
    ("family", "variant"), pairs(FAMILIES, {name: VARIANTS[name] for name in VIRTUAL})
)
def test_virtual_tokens_train_alike_packed_alone_and_recomputed(family, variant, tmp_path):
    engine = engine_for(family, variant, tmp_path)
    adapter = attach(engine, variant, tmp_path)
    made = rows("a")

    def gradients(groups, **options):
        for parameter in adapter.trained.values():
            parameter.grad = None
        for group in groups:
            states(engine, group, **options)[1].backward()
        adapter.gather()
        return [p.grad.clone() for p in adapter.trained.values()]

    together = gradients([made])
    apart = gradients([[row] for row in made])
    for others in (apart, *(gradients([made], recompute=what) for what in RECOMPUTE[1:])):
        for a, b in zip(together, others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_full_keeps_fp32_masters_and_one_for_a_tied_head():
    engine = prepare_(tiny_model("gemma2", torch.bfloat16))
    adapter = table.attach(engine, FullSettings())
    assert {p.dtype for p in adapter.parameters.values()} == {torch.float32}
    assert engine.tied
    batch = pack(rows(None))
    loss_sum(engine.hidden_states(batch), batch, engine.head).backward()
    assert {p.grad.dtype for p in adapter.parameters.values()} == {torch.float32}
    assert sum("embed" in n or "head" in n for n in adapter.parameters) == 1


@pytest.mark.parametrize("family", [f for f in FAMILIES if "experts" in TRAITS[f]])
def test_full_trains_all_of_a_16_bit_mixture(family):
    engine = prepare_(tiny_model(family, torch.bfloat16))
    adapter = table.attach(engine, FullSettings())
    batch = pack(rows(None))
    loss_sum(engine.hidden_states(batch), batch, engine.head).backward()
    unmoved = [n for n, p in adapter.parameters.items() if p.grad is None or not p.grad.any()]
    assert not unmoved
    assert {p.grad.dtype for p in adapter.parameters.values()} == {torch.float32}
    assert not [name for name in adapter.decayed if "bias" in name]


def test_rows_that_drop_share_no_beginning():
    alike = [Row([5, 6, 7, 8, 9 + i], [0.0] * 4 + [1.0], adapter="a", key=i) for i in range(3)]
    assert len(pack(alike, share=2).ids) == 4 + 3
    assert len(pack(alike, share=2, dropout={"a": Dropout(seed=0, step=0)}).ids) == 3 * 5


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_dropout_depends_on_row_step_and_module_but_not_on_packing(recompute):
    engine = prepare_(tiny_model("llama"))
    adapter = table.attach(engine, LoraSettings(rank=2, dropout=0.5), name="a")
    for parameter in adapter.parameters.values():
        parameter.data.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    made = rows("a")

    def loss_and_gradients(groups, step):
        for parameter in adapter.parameters.values():
            parameter.grad = None
        total = 0.0
        for group in groups:
            batch = pack(group, dropout={"a": Dropout(seed=1, step=step)})
            loss = loss_sum(engine.hidden_states(batch, recompute=recompute), batch, engine.head)
            loss.backward()
            total += loss.item()
        return total, [p.grad.clone() for p in adapter.parameters.values()]

    together, grads = loss_and_gradients([made], step=4)
    apart, others = loss_and_gradients([[made[2]], [made[1], made[0]]], step=4)
    assert together == pytest.approx(apart, rel=1e-6)
    for ours, theirs in zip(grads, others, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert loss_and_gradients([made], step=5)[0] != pytest.approx(together, rel=1e-3)


def test_dropout_gradient_is_that_of_the_dropped_forward():
    engine = prepare_(tiny_model("llama"))
    adapter = table.attach(engine, LoraSettings(rank=2, dropout=0.5), name="a")
    for parameter in adapter.parameters.values():
        parameter.data = parameter.data.double().normal_(
            generator=torch.Generator().manual_seed(parameter.numel())
        )
    adapter.refresh()
    batch = pack(rows("a"), dropout={"a": Dropout(seed=1, step=0)})

    def loss():
        adapter.refresh()
        return loss_sum(engine.hidden_states(batch), batch, engine.head)

    loss().backward()
    name = next(n for n in adapter.parameters if "layers.0.self_attn.v_proj.lora_A" in n)
    parameter = adapter.parameters[name]
    step = 1e-4
    with torch.no_grad():
        parameter[0, 1] += step
        up = loss()
        parameter[0, 1] -= 2 * step
        down = loss()
    assert float((up - down) / (2 * step)) == pytest.approx(float(parameter.grad[0, 1]), rel=1e-3)
