"""A converted GGUF file computes and cuts text as its original, or is refused by name."""

import numpy as np
import pytest
import torch
from gguf import GGUFValueType, GGUFWriter
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tests.models.tiny import TEMPLATE, tiny_model, tiny_tokenizer, write_gguf
from tunesmith.core.errors import ModelError
from tunesmith.models import gguf
from tunesmith.models.cache import models_root
from tunesmith.models.gguf import cutter, rule_of

pytestmark = pytest.mark.usefixtures("home")
IDS = torch.arange(40).reshape(1, 40) * 5 % 250

FAMILIES = {
    "llama": {"tie_word_embeddings": False},
    "llama-tied": {"tie_word_embeddings": True},
    "qwen2": {},
    "qwen3": {"head_dim": 128, "tie_word_embeddings": True},
    "gemma2": {
        "head_dim": 32,
        "tie_word_embeddings": True,
        "sliding_window": 8,
        "query_pre_attn_scalar": 32,
    },
    "gemma3_text": {
        "head_dim": 32,
        "tie_word_embeddings": True,
        "sliding_window": 8,
        "query_pre_attn_scalar": 32,
    },
    "phi3": {},
}


CUT = {"qwen2": "qwen2", "qwen3": "qwen2", "phi3": "gpt-2"}


def family(name):
    return tiny_model(name.removesuffix("-tied"), **FAMILIES[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_converted_model_computes_what_the_original_computes(tmp_path, name):
    model = family(name)
    folder = gguf.convert_cached(
        write_gguf(tmp_path / "tiny.gguf", model, pre=CUT.get(name, "smollm"))
    )
    converted = AutoModelForCausalLM.from_pretrained(folder)
    assert converted.dtype == torch.bfloat16
    with torch.no_grad():
        expected, found = model(IDS).logits, converted.float()(IDS).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_quantised_weights_are_dequantised_and_the_file_only_once(tmp_path, monkeypatch):
    model = family("llama")
    path = write_gguf(tmp_path / "tiny.gguf", model, quantise=True)
    folder = gguf.convert_cached(path)
    found = AutoModelForCausalLM.from_pretrained(folder).float().state_dict()
    for name, tensor in model.state_dict().items():
        # Q8_0 keeps 127 steps up to the largest of 32 weights.
        assert (found[name] - tensor).abs().max() <= tensor.abs().max() / 127 + 2e-3, name
    monkeypatch.setattr(gguf, "convert", lambda *_, **__: pytest.fail("converted again"))
    assert gguf.convert_cached(path) == folder


def test_tokenizer_template_and_stops_survive(tmp_path):
    extra = {"tokenizer.ggml.eot_token_id": (0, GGUFValueType.UINT32)}
    path = write_gguf(tmp_path / "tiny.gguf", family("llama"), extra=extra)
    folder = gguf.convert_cached(path)
    found, expected = AutoTokenizer.from_pretrained(folder), tiny_tokenizer()
    for text in ("a  1", "  hello 123 \n\t x", "<|im_start|>user\nhé 漢<|im_end|>\n"):
        assert found.encode(text) == expected.encode(text), text
        assert found.decode(found.encode(text)) == text
    assert found.chat_template == TEMPLATE
    assert found.special_tokens_map["eos_token"] == "<|im_end|>"
    assert found.model_max_length == 128
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [2, 0]


def test_unknown_architecture_is_named_with_the_supported_ones(tmp_path):
    writer = GGUFWriter(tmp_path / "m.gguf", "gptneox")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match=r"'gptneox' is not supported.*llama, qwen2"):
        gguf.convert_cached(tmp_path / "m.gguf")


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_cut_file_is_refused_and_leaves_nothing(tmp_path, kept):
    path = write_gguf(tmp_path / "tiny.gguf", family("llama"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ModelError, match="damaged or cut short"):
        gguf.convert_cached(path)
    assert not list(models_root().glob("tiny*"))


def test_file_of_another_kind_and_missing_file_are_refused(tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelError, match="not a GGUF file"):
        gguf.convert_cached(tmp_path / "text.gguf")
    with pytest.raises(ModelError, match="No such file"):
        gguf.convert_cached(tmp_path / "none.gguf")


LOST = {
    "llama.rope.scaling.type": ("linear", GGUFValueType.STRING),
    "llama.rope.scaling.factor": (4.0, GGUFValueType.FLOAT32),
    "llama.expert_count": (8, GGUFValueType.UINT32),
    "llama.logit_scale": (0.5, GGUFValueType.FLOAT32),
}


@pytest.mark.parametrize("key", LOST)
def test_setting_that_conversion_would_lose_is_refused_by_name(tmp_path, key):
    path = write_gguf(tmp_path / "tiny.gguf", family("llama"), extra={key: LOST[key]})
    with pytest.raises(ModelError, match=f"would lose {key}"):
        gguf.convert_cached(path)


def test_rotary_width_other_than_the_head_is_refused(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", family("qwen2"), pre="qwen2", rotary=12)
    with pytest.raises(ModelError, match=r"rope\.dimension_count = 12 of 16"):
        gguf.convert_cached(path)


def test_tensor_that_conversion_would_lose_is_refused_by_name(tmp_path):
    model = family("llama")
    path = write_gguf(tmp_path / "tiny.gguf", model, more={"rope_freqs.weight": np.ones(8, "f4")})
    with pytest.raises(ModelError, match=r"would lose rope_freqs\.weight"):
        gguf.convert_cached(path)


def test_biases_that_conversion_would_lose_are_refused_by_name(tmp_path):
    bias = {"blk.0.ffn_up.bias": np.ones(8, "f4")}
    path = write_gguf(tmp_path / "tiny.gguf", family("llama"), more=bias)
    with pytest.raises(ModelError, match=r"would lose blk\.0\.ffn_up\.bias"):
        gguf.convert_cached(path)


def test_missing_weights_are_named(tmp_path):
    model = family("llama")
    model.config.num_hidden_layers = 3  # one more than there are tensors for
    with pytest.raises(ModelError, match=r"no weights for model\.layers\.2"):
        gguf.convert_cached(write_gguf(tmp_path / "tiny.gguf", model))


@pytest.mark.parametrize("rule", ["default", None])
def test_unknown_rule_for_words_is_refused(tmp_path, rule):
    path = write_gguf(tmp_path / "tiny.gguf", family("llama"), pre=rule)
    with pytest.raises(ModelError, match=rf"The rule '?{rule}'? for splitting"):
        gguf.convert_cached(path)


@pytest.mark.parametrize("rule", gguf.WRITTEN)
def test_the_rule_of_a_tokenizer_is_found_by_how_it_cuts(rule):
    tokenizer = tiny_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = cutter(rule)
    backend.model.ignore_merges = whole = rule in ("llama-bpe", "tekken")
    assert rule_of(tokenizer) == rule
    backend.model.ignore_merges = not whole
    # these two differ in that alone
    assert rule_of(tokenizer) == {"llama-bpe": "dbrx", "dbrx": "llama-bpe"}.get(rule)
    backend.model.ignore_merges = whole
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    assert rule_of(tokenizer) is None
