"""Adapter folders as others write them: read as PEFT computes them, or refused by name."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.adapters.test_store import assert_same_logits, ours, theirs
from tests.families import tiny_model
from tests.models.tiny import TEMPLATE, edit_json, tiny_folder, tiny_tokenizer
from tunesmith.adapters import folder as folder_files
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import attach_folder, lend_template, open_base
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import prepare_

BASE = {"r": 4, "lora_alpha": 6, "init_lora_weights": False, "task_type": "CAUSAL_LM"}
READ = {
    "rank_pattern by regex": {
        "target_modules": ["q_proj", "o_proj", "up_proj"],
        "rank_pattern": {r"layers\.1\.self_attn\.q_proj": 2, "up_proj": 7},
    },
    "alpha_pattern by name": {
        "target_modules": ["q_proj", "v_proj"],
        "alpha_pattern": {"model.layers.2.self_attn.v_proj": 11, "q_proj": 3},
    },
    "both, with rsLoRA": {
        "target_modules": "all-linear",
        "rank_pattern": {"down_proj": 2},
        "alpha_pattern": {"down_proj": 9},
        "use_rslora": True,
    },
    "all-linear": {"target_modules": "all-linear"},
    "a regex of targets": {"target_modules": r".*\.mlp\.(up|gate)_proj"},
    "some layers": {"target_modules": ["q_proj", "k_proj"], "layers_to_transform": [0, 2]},
    "one layer by pattern": {
        "target_modules": ["q_proj"],
        "layers_to_transform": 1,
        "layers_pattern": "layers",
    },
    "some excluded": {"target_modules": "all-linear", "exclude_modules": ["down_proj"]},
    # PEFT itself turns it off over a linear layer, with a warning
    "fan_in_fan_out over linear layers": {"target_modules": ["q_proj"], "fan_in_fan_out": True},
}


def made(folder, model, **settings):
    """A random adapter of PEFT's over a model, saved; the model with it."""
    torch.manual_seed(3)
    found = peft.get_peft_model(model, peft.LoraConfig(**{**BASE, **settings}))
    found.save_pretrained(folder)
    return found.eval()


def llama():
    return tiny_model("llama", torch.float32)


def read(folder):
    engine = prepare_(llama())
    store.load(engine, folder, name="a")
    return ours(engine, "a")


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to True")
@pytest.mark.parametrize("case", READ)
def test_what_peft_wrote_computes_as_in_peft(case, tmp_path):
    model = made(tmp_path, llama(), **READ[case])
    assert_same_logits(read(tmp_path), theirs(model))
    assert not torch.allclose(read(tmp_path), theirs(llama()), atol=1e-3)


def test_16_bit_tensors_are_read_as_they_are(tmp_path):
    model = made(tmp_path, llama(), target_modules="all-linear")
    path = tmp_path / folder_files.TENSORS
    narrow = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(narrow, path, metadata={"format": "pt"})
    peft.set_peft_model_state_dict(model, {n: t.float() for n, t in narrow.items()})
    assert_same_logits(read(tmp_path), theirs(model))
    assert store.settings_of(tmp_path).dtype == "bfloat16"


def shard(folder):
    """The tensors in two files with an index, as models are written that do not fit one."""
    tensors = load_file(folder / folder_files.TENSORS)
    (folder / folder_files.TENSORS).unlink()
    names = sorted(tensors)
    places = {}
    for number in (1, 2):
        path = folder / f"adapter_model-0000{number}-of-00002.safetensors"
        part = names[number - 1 :: 2]
        save_file({name: tensors[name] for name in part}, path)
        places |= dict.fromkeys(part, path.name)
    (folder / folder_files.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_tensors_in_several_files_are_one_adapter(tmp_path):
    model = made(tmp_path, llama(), target_modules="all-linear")
    shard(tmp_path)
    assert_same_logits(read(tmp_path), theirs(model))
    (tmp_path / "adapter_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"00002-of-00002\.safetensors missing"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "damaged"), ("[]", "damaged"), ('{"weight_map": 3}', "damaged")]
)
def test_a_damaged_index_is_named(tmp_path, text, message):
    made(tmp_path, llama(), target_modules=["q_proj"])
    shard(tmp_path)
    (tmp_path / folder_files.INDEX).write_text(text)
    with pytest.raises(AdapterError, match=message):
        read(tmp_path)


def test_an_index_names_no_file_elsewhere(tmp_path):
    made(tmp_path / "a", llama(), target_modules=["q_proj"])
    shard(tmp_path / "a")
    save_file({"x": torch.zeros(1)}, tmp_path / "outside.safetensors")
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (tmp_path / "a" / folder_files.INDEX).write_text(json.dumps(index))
    with pytest.raises(AdapterError, match=r"outside\.safetensors missing"):
        read(tmp_path / "a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"target_modules": ["q_proj"], "bias": "lora_only"}, "bias = 'lora_only'"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "lora_embedding_A"),
        ({"target_modules": ["q_proj", "lm_head"]}, "tensor .*lm_head"),
    ],
)
def test_what_is_not_a_term_of_a_linear_layer_is_refused_by_its_name(settings, message, tmp_path):
    made(tmp_path, llama(), **settings)
    with pytest.raises(AdapterError, match=message):
        read(tmp_path)


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    model = made(tmp_path, llama(), target_modules=["q_proj"])
    (tmp_path / folder_files.TENSORS).unlink()
    model.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(AdapterError, match=r"adapter_model\.bin is a pickle") as refused:
        read(tmp_path)
    assert "safetensors" in refused.value.remedy


def test_an_adapter_of_gpt_2_is_refused_for_its_transposed_layers(tmp_path):
    config = AutoConfig.for_model(
        "gpt2", vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64
    )
    made(tmp_path, AutoModelForCausalLM.from_config(config), fan_in_fan_out=True)
    with pytest.raises(AdapterError, match="fan_in_fan_out = True"):
        read(tmp_path)


def test_a_folder_that_holds_adapters_by_name_says_which(tmp_path):
    model = made(tmp_path / "one", llama(), target_modules=["q_proj"])
    model.add_adapter("other", peft.LoraConfig(**BASE, target_modules=["v_proj"]))
    model.save_pretrained(tmp_path / "two", selected_adapters=["other"])
    with pytest.raises(AdapterError, match="cannot be read") as refused:
        read(tmp_path / "two")
    assert "It holds adapters in other" in refused.value.remedy
    read(tmp_path / "two" / "other")


def with_tokenizer(folder, base, template, token=None):
    """An adapter of PEFT's in ``folder``, beside a tokenizer as trainers save it."""
    made(folder, AutoModelForCausalLM.from_pretrained(base), target_modules=["q_proj"])
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    if token:
        tokenizer.add_tokens([token])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("of_base", [None, TEMPLATE])
def test_it_is_asked_through_the_chat_template_that_it_brings(of_base, tmp_path):
    base = tiny_folder(tmp_path / "base")
    own = "{% for m in messages %}{{ m['content'] + '<|endoftext|>' }}{% endfor %}<|im_end|>"
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = of_base
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(base)
    if of_base is None:
        (base / "chat_template.jinja").unlink()
    edit_json(base / "config.json", eos_token_id=0)
    (base / "generation_config.json").unlink()
    loaded = open_base(str(base), dtype="float32", device="cpu")
    assert loaded.base.stop_ids == ({0} if of_base is None else {0, 2})
    folder = with_tokenizer(tmp_path / "adapter", base, own)
    attach_folder(loaded, folder, name="a", force=True)
    assert loaded.tokenizer("a").chat_template == own
    assert loaded.tokenizer(None).chat_template == of_base
    assert loaded.base.stop_ids == {0, 2}
    for name, template, token in (("same", of_base, None), ("other", own, "<new>")):
        other = with_tokenizer(tmp_path / name, base, template, token)
        attach_folder(loaded, other, name=name, force=True)
        assert name not in loaded.tokenizers
    wider = tiny_tokenizer()
    wider.chat_template = own
    wider.add_tokens(["<new>"])
    for lender, tokenizer in (("wider", wider), ("bare", tiny_tokenizer())):
        loaded.tokenizers[lender] = tokenizer
    loaded.tokenizers["bare"].chat_template = None
    assert lend_template(loaded, "wider") is lend_template(loaded, "bare") is None
    assert (lend_template(loaded, "a") is None) == (of_base is not None)
