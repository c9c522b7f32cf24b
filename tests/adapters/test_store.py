"""Contract 5: our adapter loaded by Hugging Face PEFT equals ours, theirs loaded by us theirs."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.covering import covering, family_traits, pairs
from tests.families import FAMILIES, TRAITS, tiny_model
from tests.variants import FOUR_BIT, attach, engine_for
from tests.variants import VARIANTS as ALL
from tunesmith.adapters import store
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table

IDS = [5, 9, 44, 71, 3, 90, 12, 33, 8]
VARIANTS = {
    "plain": LoraSettings(rank=3, alpha=7),
    "rslora": LoraSettings(rank=4, alpha=3.5, rslora=True),
    "patterns": LoraSettings(
        rank=3, alpha=6, rank_pattern={"o_proj": 5}, alpha_pattern={"model.layers.1.*": 2}
    ),
    "some layers": LoraSettings(rank=2, targets=["model.layers.1.*"]),
    "dora": LoraSettings(rank=3, alpha=7, dora=True),
    "dora, rslora": LoraSettings(rank=3, alpha=2.5, dora=True, rslora=True),
    "pissa": LoraSettings(rank=3, alpha=7, init="pissa", rank_pattern={"o_proj": 5}),
    "lora-fa": LoraSettings(rank=3, alpha=7, freeze_a=True),
    "lora+": LoraSettings(rank=3, alpha=7, loraplus_lr_ratio=16),
    "olora": LoraSettings(rank=3, alpha=7, init="olora"),
    "olora, rslora": LoraSettings(rank=4, alpha=2.5, init="olora", rslora=True),
    "experts": LoraSettings(rank=3, alpha=7, target_parameters=["gate_up_proj", "down_proj"]),
    "one stack, rslora": LoraSettings(
        rank=4,
        alpha=3.5,
        rslora=True,
        targets=["model.layers.1.*"],
        target_parameters=["*.layers.2.*.down_proj"],
        rank_pattern={"down_proj": 2},
        alpha_pattern={"*.layers.2.*": 5},
    ),
    "experts alone": LoraSettings(rank=2, targets=[], target_parameters=["*.experts.*"]),
    "pissa, dora": LoraSettings(rank=3, init="pissa", dora=True, alpha_pattern={"o_proj": 5}),
}
PEFTS = {  # what PEFT is asked for besides
    "plain": (),
    "dora": ("use_dora",),
    "rslora": ("use_rslora",),
    "dora, rslora": ("use_dora", "use_rslora"),
}
PEFT_PAIRS = covering(
    family_traits(FAMILIES), {how: asked or ("plain",) for how, asked in PEFTS.items()}
)
QUANTISED = {name: ALL[name] for name in FOUR_BIT}


def ours(engine, adapter):
    batch = pack([Row(IDS, [0.0] * len(IDS), adapter=adapter)])
    with torch.no_grad():
        return engine.head.logits(engine.hidden_states(batch))


def theirs(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0]


def loaded_from_peft(config, family, folder):
    """An engine with PEFT's adapter as "b", and the logits that PEFT has with it."""
    model = peft.get_peft_model(tiny_model(family, torch.float32), config)
    expected = theirs(model)
    model.save_pretrained(folder)
    engine = prepare_(tiny_model(family, torch.float32))
    store.load(engine, folder, name="b")
    return engine, expected


def assert_same_logits(a, b):
    """To 1e-5 of the largest logit: fp32 adds up differently on the two sides."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * max(1.0, float(b.abs().max())))


def randomise(adapter):
    g = torch.Generator().manual_seed(0)
    for parameter in adapter.trained.values():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=g))
    adapter.refresh()


@pytest.mark.parametrize(("family", "variant"), pairs(FAMILIES, VARIANTS))
def test_peft_gives_the_same_logits_with_our_adapter_and_we_read_it_back(family, variant, tmp_path):
    engine = prepare_(tiny_model(family, torch.float32))
    adapter = table.attach(engine, VARIANTS[variant], name="a")
    randomise(adapter)
    mine = ours(engine, "a")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    model = peft.PeftModel.from_pretrained(tiny_model(family, torch.float32), tmp_path / "adapter")
    assert_same_logits(mine, theirs(model))
    again = prepare_(tiny_model(family, torch.float32))
    store.load(again, tmp_path / "adapter", name="b")
    torch.testing.assert_close(ours(again, "b"), mine, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("family", "variant"), pairs(FAMILIES, QUANTISED))
def test_over_4_bit_peft_gives_the_same_logits_beside_the_dequantised_base(
    family, variant, tmp_path
):
    engine = engine_for(family, variant, tmp_path / "base")
    adapter = attach(engine, variant, tmp_path / "base")
    randomise(adapter)
    mine = ours(engine, "a")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    dense = tiny_model(family, torch.float32)
    for name, linear in engine.linears.items():
        dense.get_submodule(name).weight.data = linear.dense()
    assert_same_logits(mine, theirs(peft.PeftModel.from_pretrained(dense, tmp_path / "adapter")))
    again = engine_for(family, variant, tmp_path / "base")
    store.load(again, tmp_path / "adapter", name="b")
    torch.testing.assert_close(ours(again, "b"), mine, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_adapter_is_saved_in_the_format_asked_for(dtype, tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    adapter = table.attach(engine, LoraSettings(rank=3, dtype=dtype, dora=True), name="a")
    randomise(adapter)
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    tensors = load_file(tmp_path / "adapter" / store.TENSORS)
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, dtype)}
    again = store.load(prepare_(tiny_model("llama", torch.float32)), tmp_path / "adapter")
    assert again.settings.dtype == dtype
    for name, parameter in again.parameters.items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, adapter.parameters[name].to(tensors[name].dtype).float())


@pytest.mark.parametrize(("family", "how"), PEFT_PAIRS)
def test_we_give_the_same_logits_with_an_adapter_that_peft_made(family, how, tmp_path):
    # of some families PEFT takes the experts too, to which DoRA does not apply
    has_experts = "experts" in TRAITS[family]
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj", "o_proj"] if has_experts else "all-linear",
        rank_pattern={"o_proj": 2},
        alpha_pattern={r"layers\.1\..*": 3},
        **dict.fromkeys(PEFTS[how], True),
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    engine, expected = loaded_from_peft(config, family, tmp_path)
    assert_same_logits(ours(engine, "b"), expected)


PARAMETERS = {
    "all": ["experts.gate_up_proj", "experts.down_proj"],
    "down": ["experts.down_proj"],
    "last names": ["gate_up_proj", "down_proj"],
    "up and router": ["experts.gate_up_proj", "router.weight", "gate.weight"],
}


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys")
@pytest.mark.parametrize("named", PARAMETERS)
@pytest.mark.parametrize("family", [f for f in FAMILIES if "experts" in TRAITS[f]])
def test_we_give_the_same_logits_with_experts_that_peft_trained(family, named, tmp_path):
    linear = named in ("all", "up and router")
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules="all-linear" if linear else [],
        target_parameters=PARAMETERS[named],
        rank_pattern={"down_proj": 3},
        # not the other stack: PEFT may add a pattern for that, and sorts them when it saves
        alpha_pattern={r"layers\.1\..*\.(down|q)_proj": 3},
        use_rslora=named == "down",
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    engine, expected = loaded_from_peft(config, family, tmp_path)
    assert not torch.allclose(ours(engine, None), expected, atol=1e-2)
    assert_same_logits(ours(engine, "b"), expected)


def saved(tmp_path, **changes):
    engine = prepare_(tiny_model("llama", torch.float32))
    adapter = table.attach(engine, VARIANTS["plain"], name="a")
    folder = tmp_path / "adapter"
    store.save(folder, adapter, engine, base="tiny")
    config = json.loads((folder / store.CONFIG).read_text())
    (folder / store.CONFIG).write_text(json.dumps({**config, **changes}))
    return engine, folder


def test_an_adapter_of_another_base_is_refused_with_every_misfit(tmp_path):
    _, folder = saved(tmp_path)
    other = prepare_(tiny_model("phi3", torch.float32))
    with pytest.raises(
        AdapterError, match=r"not made for this base.*is not a linear layer.*more"
    ) as e:
        store.load(other, folder)
    assert "'tiny'" in e.value.remedy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "has no magnitude"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"peft_type": "VERA"}, "kind 'VERA' are not supported"),
        ({"peft_type": None}, "without a peft_type in adapter_config.json are not"),
        ({"layer_replication": [[0, 1], [0, 1]]}, r"layer_replication = \[\[0, 1\]"),
        ({"lora_alpha": -4}, "alpha -4.*must be above 0"),
        ({"lora_dropout": 1.0}, "dropout 1.0"),
        ({"lora_alpha": "big"}, "lora_alpha is 'big'"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(tmp_path, changes, message):
    engine, folder = saved(tmp_path, **changes)
    with pytest.raises(AdapterError, match=message):
        store.load(engine, folder)


def test_damaged_and_pickled_adapters_are_refused(tmp_path):
    engine, folder = saved(tmp_path)
    whole = (folder / store.TENSORS).read_bytes()
    (folder / store.TENSORS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AdapterError, match="damaged"):
        store.load(engine, folder)
    (folder / store.TENSORS).rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match="pickle"):
        store.load(engine, folder)
    (folder / store.CONFIG).write_text("{")
    with pytest.raises(AdapterError, match=r"adapter_config\.json: is no JSON"):
        store.load(engine, folder)


def test_a_lonely_half_of_a_term_is_refused(tmp_path):
    engine, folder = saved(tmp_path)
    tensors = load_file(folder / store.TENSORS)
    tensors.pop(next(n for n in tensors if "lora_B" in n))
    save_file(tensors, folder / store.TENSORS)
    with pytest.raises(AdapterError, match="only one of A and B"):
        store.load(engine, folder)
