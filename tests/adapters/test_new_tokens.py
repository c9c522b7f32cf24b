"""Trained tokens in PEFT's format: ours give the same logits in PEFT, and PEFT's the same here."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters.test_store import assert_same_logits
from tests.families import FAMILIES, tiny_model
from tunesmith.adapters import store
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table
from tunesmith.methods.adapter import Words

TOKENS = {97: (4, 9), 98: (5, 5, 7), 11: (11,)}  # two new ones, and one that the base knows
IDS = [5, 98, 44, 11, 3, 97, 12, 33, 98]


def ours(engine, adapter):
    batch = pack([Row(IDS, [0.0] * len(IDS), adapter=adapter)])
    with torch.no_grad():
        hidden = engine.hidden_states(batch)
        return engine.scores(hidden, [adapter] * len(IDS))


def theirs(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0]


def roomy(family):
    model = tiny_model(family, torch.float32)
    model.resize_token_embeddings(99)
    return model


def attached(family):
    engine = prepare_(tiny_model(family, torch.float32))
    return engine, table.attach(engine, LoraSettings(rank=2), name="a", words=Words(TOKENS))


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_gives_the_same_logits_and_we_read_ours_back(family, tmp_path):
    engine, adapter = attached(family)
    g = torch.Generator().manual_seed(0)
    for parameter in adapter.parameters.values():
        parameter.data.normal_(0, 0.1, generator=g)
    adapter.refresh()
    mine = ours(engine, "a")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    model = peft.PeftModel.from_pretrained(roomy(family), tmp_path / "adapter")
    assert_same_logits(mine, theirs(model))
    again = prepare_(tiny_model(family, torch.float32))
    store.load(again, tmp_path / "adapter", name="b")
    assert torch.equal(ours(again, "b"), mine)


@pytest.mark.parametrize("family", FAMILIES)
def test_we_give_the_same_logits_with_tokens_that_peft_trained(family, tmp_path):
    model = roomy(family)
    tied = model.config.tie_word_embeddings
    modules = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    config = peft.LoraConfig(
        r=2,
        target_modules="all-linear",
        init_lora_weights=False,
        trainable_token_indices={module: list(TOKENS) for module in modules},
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "trainable_tokens_delta" in name:
                parameter.normal_(0, 0.3)
    expected = theirs(model)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    engine = prepare_(tiny_model(family, torch.float32))
    store.load(engine, tmp_path, name="b")
    assert_same_logits(ours(engine, "b"), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_starts_as_the_mean_of_its_pieces_and_a_known_one_as_it_is(family):
    engine, adapter = attached(family)
    known = torch.tensor([5, 11, 44, 3])
    batch = pack([Row(known.tolist(), [0.0] * 4, adapter=None)])
    base = engine.head.logits(engine.hidden_states(batch))
    batch = pack([Row(known.tolist(), [0.0] * 4, adapter="a")])
    hidden = engine.hidden_states(batch)
    torch.testing.assert_close(engine.scores(hidden, ["a"] * 4)[:, :97], base)
    rows = adapter.parameters[next(n for n in adapter.parameters if "embed_tokens" in n)]
    torch.testing.assert_close(rows[0], engine.embedding.weight[[4, 9]].mean(0))


def folder_of(tmp_path):
    engine, adapter = attached("llama")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    adapter.detach()
    assert not engine.vocabularies
    return engine, tmp_path / "adapter"


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ({"embed_tokens": [97, 98, 11], "lm_head": [97, 98]}, "other tokens for the head"),
        ({"embed_tokens": [97, "x"]}, "not a token id"),
        ({"embed_tokens": [97, 98]}, "lacks tensors that its config requires"),
        (None, "tensor base_model.model.lm_head.token_adapter"),
    ],
)
def test_tokens_that_do_not_fit_their_tensors_are_refused(tmp_path, indices, message):
    engine, folder = folder_of(tmp_path)
    config = json.loads((folder / store.CONFIG).read_text())
    config["trainable_token_indices"] = indices
    (folder / store.CONFIG).write_text(json.dumps(config))
    with pytest.raises(AdapterError, match=message):
        store.load(engine, folder)
    assert not engine.vocabularies


def test_rows_of_another_width_are_refused(tmp_path):
    engine, folder = folder_of(tmp_path)
    tensors = load_file(folder / store.TENSORS)
    name = next(n for n in tensors if "embed_tokens" in n)
    save_file({**tensors, name: torch.zeros(3, 7)}, folder / store.TENSORS)
    with pytest.raises(AdapterError, match="the embedding's width is 32"):
        store.load(engine, folder)
