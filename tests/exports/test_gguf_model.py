"""Writing GGUF is the inverse of reading it; what a file cannot hold is refused by name."""

import shutil

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer

from tests.covering import covering
from tests.exports.bases import FAMILIES, base, kind_of, plain
from tests.families import TRAITS
from tests.models.tiny import edit_json, tiny_folder
from tunesmith.core import files
from tunesmith.core.errors import ModelError, RunError
from tunesmith.exports import gguf_families, gguf_model
from tunesmith.exports.gguf_model import write_model
from tunesmith.models import gguf
from tunesmith.models.gguf import same_tokenizer

pytestmark = pytest.mark.usefixtures("home")
IDS = torch.arange(40).reshape(1, 40) * 5 % 250
PAIRS = covering(
    {name: TRAITS[kind_of(name)] for name in FAMILIES},
    {number_format: [number_format] for number_format in ("f32", "f16", "bf16")},
)


def logits(folder):
    with torch.no_grad():
        return plain(folder)(IDS).logits


def fields(path):
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def tensors(path):
    return {each.name: each for each in GGUFReader(path).tensors}


@pytest.mark.parametrize(("name", "number_format"), PAIRS)
def test_a_written_model_reads_back_with_the_same_logits_and_tokenizer(
    name, number_format, tmp_path
):
    folder = base(name, tmp_path / "base")
    written = write_model(folder, tmp_path / "m.gguf", number_format=number_format)
    again = gguf.convert_cached(written.path)
    # bf16 values are the same in each format, and in the folder that reading makes; but f16 has
    # fewer bits for the smallest of them
    near = 1e-4 if number_format == "f16" else 1e-6
    torch.testing.assert_close(logits(again), logits(folder), rtol=0, atol=near)
    tokenizers = [AutoTokenizer.from_pretrained(each) for each in (folder, again)]
    assert same_tokenizer(*tokenizers)
    template = (folder / "chat_template.jinja").read_text()
    assert fields(written.path)["tokenizer.chat_template"] == template


def test_quantised_rows_are_within_a_step_and_odd_ones_stay_in_f16(tmp_path):
    folder = base("llama", tmp_path / "base")
    other = tiny_folder(tmp_path / "odd", hidden_size=72, head_dim=16)
    for where, odd in ((folder, False), (other, True)):
        written = write_model(where, tmp_path / "m.gguf", number_format="q8_0")
        assert ("blk.0.attn_q.weight" in written.coarser) is odd
        found = tensors(written.path)
        down = found["blk.1.ffn_down.weight"]
        assert down.tensor_type == GGMLQuantizationType.Q8_0
        exact = load_file(where / "model.safetensors")[
            "model.layers.1.mlp.down_proj.weight"
        ].numpy()
        values = dequantize(down.data, down.tensor_type)
        assert np.abs(values - exact).max() <= np.abs(exact).max() / 127
    assert found["output_norm.weight"].tensor_type == GGMLQuantizationType.F32


def test_weights_are_converted_in_blocks_to_the_same_bytes(tmp_path, monkeypatch):
    folder = base("llama", tmp_path / "base")
    whole = write_model(folder, tmp_path / "a.gguf", number_format="q8_0").path.read_bytes()
    monkeypatch.setattr(gguf_model, "BLOCK_ELEMENTS", 100)
    assert write_model(folder, tmp_path / "a.gguf", number_format="q8_0").path.read_bytes() == whole


def test_at_no_time_is_more_than_one_weight_in_memory(tmp_path, monkeypatch):

    alive, limit = set(), 0
    read = gguf_model.read_weight

    def counted(folder, name):
        nonlocal limit
        import weakref

        tensor = read(folder, name)
        alive.add(name)
        limit = max(limit, len(alive))
        weakref.finalize(tensor, alive.discard, name)
        return tensor

    monkeypatch.setattr(gguf_model, "read_weight", counted)
    write_model(base("llama", tmp_path / "base"), tmp_path / "m.gguf")
    assert limit <= 2  # the last one goes when the next has come


def test_a_sharded_folder_is_the_same_file(tmp_path):
    folder = base("llama", tmp_path / "base")
    whole = write_model(folder, tmp_path / "a.gguf").path.read_bytes()
    plain(folder).bfloat16().save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    for path in folder.glob("tok*"):
        shutil.copy(path, tmp_path / "shards")
    shutil.copy(folder / "chat_template.jinja", tmp_path / "shards")
    parts = tensors(write_model(tmp_path / "shards", tmp_path / "b.gguf").path)
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    for name, each in tensors(tmp_path / "a.gguf").items():
        assert np.array_equal(parts[name].data, each.data), name
    assert whole.startswith(b"GGUF")


def test_rotary_frequencies_that_old_files_hold_are_left_out(tmp_path):
    folder = base("llama", tmp_path / "base")
    plain_file = write_model(folder, tmp_path / "m.gguf").path.read_bytes()
    weights = load_file(folder / "model.safetensors")
    for layer in range(2):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert write_model(folder, tmp_path / "m.gguf").path.read_bytes() == plain_file


def test_special_tokens_unused_rows_and_stops_are_told(tmp_path):
    folder = tiny_folder(tmp_path / "base", vocab_size=280)
    edit_json(folder / "generation_config.json", eos_token_id=[2, 0])
    said = fields(write_model(folder, tmp_path / "m.gguf").path)
    assert [said[f"tokenizer.ggml.{k}_token_id"] for k in ("bos", "eos", "eot", "padding")] == [
        1,
        2,
        0,
        2,
    ]
    assert said["tokenizer.ggml.tokens"][-1] == "[PAD279]"
    assert said["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert said["tokenizer.ggml.token_type"][-1] == 5
    assert said["tokenizer.ggml.pre"] == "smollm"
    assert said["general.type"] == "model"


def test_a_first_token_that_the_template_does_not_write_is_not_put_before_chats(tmp_path):
    from tokenizers.processors import TemplateProcessing

    folder = tiny_folder(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    tokenizer.save_pretrained(folder)
    path = tmp_path / "m.gguf"
    assert fields(write_model(folder, path).path)["tokenizer.ggml.add_bos_token"] is True
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    assert fields(write_model(folder, path).path)["tokenizer.ggml.add_bos_token"] is False
    (folder / "chat_template.jinja").unlink()
    assert fields(write_model(folder, path).path)["tokenizer.ggml.add_bos_token"] is True


LOST = {
    "attention_bias": ("llama", {"attention_bias": True}, "attention_bias = True"),
    "mlp_bias": ("llama", {"mlp_bias": True}, "mlp_bias = True"),
    "activation": ("llama", {"hidden_act": "gelu"}, "hidden_act = gelu"),
    "yarn": (
        "llama",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
        "rope_type = yarn",
    ),
    "llama3 elsewhere": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
        "rope_type = llama3",
    ),
    "mistral's window": ("mistral", {"sliding_window": 8}, "sliding_window = 8"),
    "qwen's window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
        "sliding_window = 8",
    ),
    "qwen3's bias": ("qwen3", {"attention_bias": True}, "attention_bias = True"),
    "another pattern": ("gemma2", {"layer_types": ["full_attention"] * 2}, "layer_types = "),
    "another scale": ("gemma2", {"query_pre_attn_scalar": 7}, "query_pre_attn_scalar = 7"),
    "no caps": (
        "gemma2",
        {"query_pre_attn_scalar": 32, "attn_logit_softcapping": None},
        "attn_logit_softcapping = None",
    ),
    "another rotation": (
        "smollm3",
        {"no_rope_layers": [1, 0], "layer_types": ["full_attention"] * 2},
        "no_rope_layers = ",
    ),
    "exaone's windows": (
        "exaone4",
        {"sliding_window": 8, "layer_types": ["sliding_attention"] * 2},
        "sliding_window = 8",
    ),
    "exaone's heads": (
        "exaone4",
        {"sliding_window": None, "head_dim": 32, "layer_types": ["full_attention"] * 2},
        "head_dim = 32",
    ),
    "ernie's biases": ("ernie4_5", {"use_bias": True}, "use_bias = True"),
    "a tied olmo": ("olmo2", {"tie_word_embeddings": True}, "tie_word_embeddings = True"),
    "phi's window": ("phi3", {"sliding_window": 8}, "sliding_window = 8"),
    "other yarn": (
        "arcee",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e4,
                "factor": 4.0,
                "beta_fast": 8.0,
                "original_max_position_embeddings": 32,
            }
        },
        "beta_fast = 8.0",
    ),
    "a cap": ("gemma3_text", {"attn_logit_softcapping": 2.0}, "attn_logit_softcapping = 2.0"),
}


@pytest.mark.parametrize("case", LOST)
def test_what_llama_cpp_has_no_place_for_is_refused_by_name(case, tmp_path):
    family, changes, named = LOST[case]
    more = {"head_dim": 32} if family.startswith("gemma") else {}
    folder = tiny_folder(tmp_path / "base", family, **more, **changes)
    with pytest.raises(ModelError, match=named):
        write_model(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize(
    ("family", "reason"),
    [("hyperclovax", "no architecture with its multipliers"), ("opt", "was not compared")],
)
def test_another_family_is_refused_with_the_reason_and_those_that_can_be_written(
    family, reason, tmp_path
):
    config = AutoConfig.for_model(family)
    with pytest.raises(ModelError, match=rf"'{family}' cannot be .*{reason}.*\. llama, mistral"):
        gguf_families.family_of(config, tmp_path)


@pytest.mark.parametrize(("value", "named"), [(1e5, "which f16"), (float("nan"), "not finite")])
def test_a_weight_that_the_format_cannot_hold_is_refused(value, named, tmp_path):
    folder = tiny_folder(tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 3] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=named):
        write_model(folder, tmp_path / "m.gguf")
    assert list(tmp_path.glob("*.gguf")) == list(tmp_path.glob(f"{files.TEMPORARY}*")) == []


def test_tokenizers_that_a_file_cannot_hold_are_refused(tmp_path):
    from tokenizers import pre_tokenizers

    folder = tiny_folder(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="a rule that is not known here"):
        write_model(folder, tmp_path / "m.gguf")
    small = tiny_folder(tmp_path / "small", vocab_size=100)
    with pytest.raises(ModelError, match=r"ids up to 26\d, the model only 100 rows"):
        write_model(small, tmp_path / "m.gguf")


def test_a_full_disk_and_a_damaged_file_are_told(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "base")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"m\.gguf takes"):
        write_model(folder, tmp_path / "m.gguf")
    monkeypatch.undo()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged"):
        write_model(folder, tmp_path / "m.gguf")
