"""A loaded base is frozen, complete and says where its answers end."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from tests.data.families import FAMILIES
from tests.models.tiny import SHAPE, edit_json, tiny_folder, tiny_model
from tunesmith.core.errors import ModelError
from tunesmith.models.hashes import hash_folder
from tunesmith.models.load import context_of, load_base, stop_ids_of

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def folder(tmp_path):
    return tiny_folder(tmp_path / "base")


def load(folder, **options):
    return load_base(str(folder), device="cpu", **options)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_base_is_frozen_in_the_format_asked_for(folder, dtype):
    base = load(folder, dtype=dtype)
    assert not base.model.training
    assert not any(tensor.requires_grad for tensor in base.model.parameters())
    assert {tensor.dtype for tensor in base.model.parameters()} == {getattr(torch, dtype)}
    assert base.dtype == getattr(torch, dtype)
    assert base.model.config._attn_implementation == "eager"
    assert any(note.startswith(dtype) for note in base.notes)


def test_loaded_weights_are_the_saved_ones(folder):
    expected = tiny_model().state_dict()
    found = load(folder, dtype="float32").model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_loading_changes_nothing_in_the_folder(folder):
    before = hash_folder(folder, fresh=True)
    load(folder)
    assert hash_folder(folder, fresh=True) == before


def test_context_is_the_configs(folder):
    assert load(folder).context == SHAPE["max_position_embeddings"]


def test_context_ends_where_positions_begin_to_depend_on_a_whole_call(folder):
    long = {"original_max_position_embeddings": 32, "rope_type": "longrope", "factor": 4.0}
    config = AutoConfig.for_model("phi3", max_position_embeddings=128)
    config.rope_parameters = {"rope_theta": 1e4, **long}
    assert context_of(config, folder) == 32
    config.rope_parameters = {"rope_theta": 1e4, "rope_type": "default"}
    config.original_max_position_embeddings = 32
    assert context_of(config, folder) == 128


def test_stops_are_those_of_all_sources(folder):
    """Generation config and tokenizer disagree, and the template ends turns with a third token."""
    edit_json(folder / "generation_config.json", eos_token_id=[5, 6])
    edit_json(folder / "config.json", eos_token_id=7)
    edit_json(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
    assert load(folder).stop_ids == {5, 6, 7, 0, 2}


def test_end_of_turn_that_the_template_does_not_write_is_no_stop(folder):
    for name in ("generation_config.json", "config.json"):
        edit_json(folder / name, eos_token_id=7)
    edit_json(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert load(folder).stop_ids == {7, 0}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_an_answer_of_each_family_stops_at_its_end_alone(family):
    """`<|end|>` ends an answer of Phi, and in one of gpt-oss the thinking."""
    tokenizer = family.tokenizer
    stops = stop_ids_of(AutoConfig.for_model("llama", eos_token_id=None), tokenizer)
    texts = set(tokenizer.convert_ids_to_tokens(sorted(stops)))
    assert family.end in texts
    assert ("<|end|>" in texts) == (family.name == "phi3_5")
    assert ("<|call|>" in texts) == (family.name == "gpt_oss")


def test_missing_tokenizer_is_said(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load(folder)


def test_damaged_tokenizer_is_said(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        load(folder)


def test_config_with_more_layers_than_the_files_is_refused(folder):
    edit_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(
        ModelError, match=r"its files lack \d+ tensors of the model: model\.layers\.2"
    ):
        load(folder)


def test_weights_without_a_place_are_noted(folder):
    edit_json(folder / "config.json", num_hidden_layers=1)
    assert any("tensors of the files: model.layers.1" in n for n in load(folder).notes)


def test_config_of_other_shapes_is_refused(folder):
    edit_json(folder / "config.json", intermediate_size=100)
    with pytest.raises(ModelError, match="weights cannot be loaded"):
        load(folder)


def test_tokens_outside_the_model_are_noted(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    assert any("ids up to 263" in note for note in load(folder).notes)


def test_code_in_the_folder_is_not_run_unless_trusted(folder):
    (folder / "own.py").write_text("raise SystemExit('ran')")
    edit_json(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.C"})
    with pytest.raises(ModelError, match=r"Python code of its own.*--trust_remote_code true"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "llava"}, "'llava' is not supported: .*LlavaForConditionalGeneration"),
        ({"model_type": "t5"}, "'t5' has an encoder beside its decoder"),
        ({"model_type": "whisper"}, "'whisper' has an encoder beside its decoder"),
        ({"model_type": "siglip_vision_model"}, "reads images or sound and has no language model"),
        ({"model_type": "gemma4_audio"}, "reads images or sound and has no language model"),
        ({"model_type": "of-tomorrow"}, "of-tomorrow"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "already quantized .gptq"),
    ],
)
def test_unsupported_kind_is_refused_by_name(folder, changes, reason):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ModelError, match=reason):
        load(folder)


def test_default_model_answers_and_knows_its_turns(default_model_folder):
    base = load(default_model_folder)
    assert base.context == 8192
    assert base.tokenizer.convert_ids_to_tokens(sorted(base.stop_ids)) == ["<|im_end|>"]
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = base.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False
    )
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    ids = base.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        answer = base.model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in base.tokenizer.decode(answer[0, ids["input_ids"].shape[1] :])


def test_default_model_cuts_numbers_digit_by_digit(default_model_folder):
    """As its vocabulary was learned: a number never takes a space away from the gap before it."""
    tokenizer = AutoTokenizer.from_pretrained(default_model_folder)
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]


def test_origin_of_the_default_model_is_recorded(default_model_folder):
    origin = json.loads((default_model_folder / "origin.json").read_text())
    assert (origin["licence"], origin["credit"]) == ("Apache-2.0", "HuggingFaceTB")
