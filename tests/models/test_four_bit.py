"""bitsandbytes is loaded without a warning, and without asking a hub for kernels."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from bitsandbytes import functional
from transformers import AutoConfig

from tests.covering import pairs
from tests.families import FAMILIES, four_bit_model, tiny_model
from tests.methods.test_contract import rows
from tests.models.tiny import edit_json, tiny_folder
from tests.variants import FOUR_BIT, VARIANTS
from tunesmith.adapters import store
from tunesmith.config.methods import FullSettings, LoraSettings
from tunesmith.core.errors import ConfigError, ModelError
from tunesmith.core.progress import SILENT
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import pack
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.sampling import Sampling
from tunesmith.methods import table
from tunesmith.methods.adapter import Words
from tunesmith.models import four_bit
from tunesmith.models import four_bit as quantize_folder
from tunesmith.models.load import load_base
from tunesmith.models.weights import read_weight

CODE = """
import sys
from tunesmith.models.four_bit import functional
assert functional().create_dynamic_map().numel() == 256
assert "kernels" not in sys.modules
import kernels
kernels.get_kernel("now it is there")
"""


@pytest.mark.slow
def test_a_package_of_hub_kernels_is_not_asked_and_nothing_is_said(tmp_path):
    fake = tmp_path / "kernels.py"
    fake.write_text("def get_kernel(name, **options):\n    print('asked for', name)\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "asked for now it is there\n"


pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(96, 64), (70, 36), (3, 10), (300, 128)])
def test_codes_and_scales_equal_bitsandbytes_though_read_in_blocks(shape, dtype, monkeypatch):
    monkeypatch.setattr(four_bit, "ROWS_ELEMENTS", 64 * shape[1])
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    codes, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    ours = four_bit.quantize(shape, lambda start, stop: weight[start:stop])
    assert torch.equal(ours.codes, codes)
    assert ours.state == state
    assert torch.equal(ours.dense(), functional.dequantize_4bit(codes, state))
    assert ours.dense().dtype == dtype
    assert torch.equal(ours.dense(torch.float64), ours.dense(torch.float32).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [16, 32, 36, 64, 96, 100, 128, 208])
def test_every_width_is_dequantised_by_the_scale_of_its_own_block(width, dtype):
    weight = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    ours = four_bit.quantize(weight.shape, lambda start, stop: weight[start:stop])
    scales = functional.dequantize_blockwise(ours.state.absmax, ours.state.state2)
    codes = torch.stack([ours.codes.flatten() >> 4, ours.codes.flatten() & 15], 1).flatten()
    numbers = functional.get_4bit_type("nf4", device="cpu")[codes.long()]
    expected = numbers * (scales + ours.state.offset).repeat_interleave(four_bit.BLOCK)
    assert torch.equal(ours.dense(dtype), expected.view(64, width).to(dtype))
    assert float((expected.view(64, width) - weight).norm() / weight.norm()) < 0.11


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [64, 192, 320])
@pytest.mark.parametrize("count", [1, 7])
def test_the_product_over_codes_is_that_over_the_dense_weight(count, width, dtype):
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(n, width, generator=generator).to(dtype) for n in (70, count))
    ours = four_bit.quantize(weight.shape, lambda start, stop: weight[start:stop])
    assert torch.equal(ours.product(x), x @ ours.dense(dtype).t())
    assert not ours.has_product(x)  # a processor has no kernel of its own for it


def answered(engine):
    prompts = [Prompt(tuple(range(5, 5 + n)), adapter) for adapter in (None, "a") for n in (3, 8)]
    sampling = Sampling(0.0, max_new_tokens=4)
    made = generate(engine, prompts, stop_ids=frozenset(), sampling=sampling)
    return sorted((answer.row, answer.ids) for answer in made)


def test_answers_are_the_same_over_codes_and_training_never_multiplies_them(tmp_path, monkeypatch):
    shape = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
    engine = prepare_(four_bit_model(tiny_model("llama", torch.float32, **shape), tmp_path))
    table.attach(engine, VARIANTS[FOUR_BIT[0]], name="a", seed=1)
    expected, calls = answered(engine), []
    monkeypatch.setattr(four_bit.FourBit, "has_product", lambda self, x: not calls.append(len(x)))
    assert answered(engine) == expected
    assert min(calls) == 4  # rows of a step
    calls.clear()
    batch = pack(rows("a"))
    loss_sum(engine.hidden_states(batch), batch, engine.head).backward()
    assert not calls


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_on_a_card_the_product_over_codes_is_near_that_over_the_dense_weight(count, dtype):
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(n, 512, generator=generator).to("cuda", dtype) for n in (300, count))
    ours = four_bit.quantize(weight.shape, lambda start, stop: weight[start:stop])
    assert ours.has_product(x)
    expected = x.float() @ ours.dense(torch.float32).t()
    assert float((ours.product(x) - expected).norm() / expected.norm()) < 1e-2


def dequantised(model, quantized):
    """A dense copy of the model with the weights that the 4-bit one computes with."""
    dense = copy.deepcopy(model)
    for name, module in quantized.named_modules():
        weight = four_bit.four_bit_of(module) if hasattr(module, "weight") else None
        if weight is not None:
            dense.get_submodule(name).weight.data = weight.dense()
    return dense


QUANTISED = {**{name: VARIANTS[name] for name in FOUR_BIT}, "dora": VARIANTS["dora"]}


@pytest.mark.parametrize(("family", "variant"), pairs(FAMILIES, QUANTISED))
def test_loss_and_gradients_equal_a_dense_model_of_the_dequantised_weights(
    family, variant, tmp_path
):
    settings = QUANTISED[variant]
    model = tiny_model(family, torch.float32)
    quantized = four_bit_model(model, tmp_path)
    dense = dequantised(model, quantized)
    words = Words(original=lambda name: read_weight(tmp_path, name))
    engine = prepare_(quantized)
    adapter = table.attach(engine, settings, name="a", seed=1, words=words)
    for key, parameter in adapter.trained.items():
        generator = torch.Generator().manual_seed(len(key))
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    other = prepare_(dense)
    plain = settings.init if settings.init != "loftq" else None  # which needs 4 bit
    beside = table.attach(other, settings.model_copy(update={"init": plain}), name="a", seed=1)
    store.put_(beside, adapter.parameters)
    found = []
    for base, own in ((engine, adapter), (other, beside)):
        own.refresh()
        batch = pack(rows("a"))
        loss = loss_sum(base.hidden_states(batch), batch, base.head)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in own.trained.values())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_loftq_starts_nearer_to_the_base_before_quantisation(tmp_path):
    model = tiny_model("llama", torch.float32)
    expected = {n: m.weight.clone() for n, m in model.named_modules() if hasattr(m, "weight")}
    engine = prepare_(four_bit_model(model, tmp_path))
    settings = LoraSettings(kind="qlora", init="loftq", rank=8, alpha=5)
    words = Words(original=lambda name: read_weight(tmp_path, name))
    table.attach(engine, settings, name="a", words=words)
    for name, linear in engine.linears.items():
        a, b = linear.terms["a"].product()
        before = (linear.dense() - expected[name]).norm()
        after = (linear.dense() + linear.terms["a"].scale * b @ a - expected[name]).norm()
        assert after < 0.8 * before
        # the best approximation of this rank, by torch's full decomposition
        rest = torch.linalg.svdvals(expected[name] - linear.dense())[8:].norm()
        torch.testing.assert_close(after, rest, rtol=0.02, atol=1e-6)


def test_loftq_without_the_original_is_refused(tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    with pytest.raises(ConfigError, match="before it was quantized"):
        table.attach(engine, LoraSettings(kind="qlora", init="loftq"))
    engine = prepare_(four_bit_model(tiny_model("llama", torch.float32), tmp_path))
    codes = Words(original=lambda _: torch.zeros(8, 1, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="before it was quantized"):
        table.attach(engine, LoraSettings(kind="qlora", init="loftq"), words=codes)


def test_a_base_in_4_bit_cannot_be_trained_whole(tmp_path):
    engine = prepare_(four_bit_model(tiny_model("llama", torch.float32), tmp_path))
    with pytest.raises(ConfigError, match="are 4-bit"):
        table.attach(engine, FullSettings())


def test_the_quantised_copy_is_made_once_and_is_a_base_itself(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "base")
    first = load_base(str(folder), device="cpu", four_bit=True)
    assert any("NF4" in note for note in first.notes)
    assert first.folder == folder

    def fill_again(*_):
        pytest.fail("the copy was made a second time")

    monkeypatch.setattr(quantize_folder, "_fill", fill_again)
    second = load_base(str(folder), device="cpu", four_bit=True)
    (copy_,) = (quantize_folder.cache_root() / "four_bit").glob("base-*")
    third = load_base(str(copy_), device="cpu")  # as a pre-quantised folder, without being asked
    states = [base.model.state_dict() for base in (first, second, third)]
    assert states[0].keys() == states[1].keys() == states[2].keys()
    for name, tensor in states[0].items():
        assert all(torch.equal(tensor, state[name]) for state in states[1:])
    assert AutoConfig.from_pretrained(copy_).quantization_config["bnb_4bit_quant_type"] == "nf4"


def test_other_quantisations_and_missing_kernels_are_refused(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "base")

    def missing():
        raise ImportError("no module named bitsandbytes")

    monkeypatch.setattr(four_bit, "functional", missing)
    with pytest.raises(ModelError, match="no module named bitsandbytes") as error:
        load_base(str(folder), device="cpu", four_bit=True)
    assert "method lora" in error.value.remedy
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match="gptq"):
        load_base(str(folder), device="cpu")


def test_devices_with_the_same_codes_share_a_copy_and_others_have_their_own(
    home, tmp_path, monkeypatch
):
    folder = tiny_folder(tmp_path / "base")
    config = AutoConfig.from_pretrained(folder)

    def copy_of(device):
        options = {"dtype": torch.float32, "progress": SILENT, "device": torch.device(device)}
        return four_bit.quantized(folder, config, **options)

    assert four_bit.has_same_codes(torch.device("cpu"))
    shared = copy_of("cpu")
    monkeypatch.setattr(four_bit, "has_same_codes", lambda device: False)
    own = copy_of("cpu")
    assert own.name == f"{shared.name}-cpu"
    assert read_weight(own, "model.norm.weight").equal(read_weight(shared, "model.norm.weight"))


@pytest.mark.parametrize(
    ("device", "remedy"),
    [("mps", "Set device to cpu, or use method lora."), ("cpu", "Install it again")],
)
def test_a_device_without_kernels_for_4_bit_is_named(monkeypatch, device, remedy):
    class Lacking:
        def quantize_4bit(self, *_, **__):
            raise NotImplementedError("bitsandbytes::quantize_4bit is not implemented")

        dequantize_4bit = quantize_4bit

    monkeypatch.setattr(four_bit, "functional", Lacking)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: None)
    with pytest.raises(ModelError, match="quantize_4bit is not implemented") as error:
        four_bit.require_kernels(torch.device(device))
    assert remedy in error.value.remedy
    assert ("on device mps" in str(error.value)) is (device == "mps")
