"""Contract 6: merged = attached, through transformers' own forward, or a clear refusal."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tests import variants
from tests.adapters import test_new_tokens as new_tokens
from tests.adapters.test_store import VARIANTS, ours, randomise, theirs
from tests.covering import pairs
from tests.families import FAMILIES, four_bit_model, tiny_model
from tests.methods.test_contract import base_digest
from tests.models.tiny import tiny_folder
from tunesmith.adapters import merge
from tunesmith.adapters.folder import FILE, Origin, read_origin
from tunesmith.adapters.merge import Target
from tunesmith.adapters.products import RelativeError
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError, RunError
from tunesmith.data.tokenizer import add_tokens_
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.methods.adapter import NO_WORDS, Words
from tunesmith.models import weights
from tunesmith.models.hashes import hash_folder
from tunesmith.models.load import load_base
from tunesmith.models.weights import read_weight

pytestmark = pytest.mark.usefixtures("home")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ORIGIN = Origin("tiny", "0123", "lora")
QUANTISED = {name: variants.VARIANTS[name] for name in variants.FOUR_BIT}
NOTHING_TO_MERGE = {name: variants.VARIANTS[name] for name in ("full", *variants.VIRTUAL)}
REST = variants.VARIANTS.keys() - QUANTISED.keys() - NOTHING_TO_MERGE.keys()
DENSE = {**VARIANTS, **{name: variants.VARIANTS[name] for name in sorted(REST)}}


def attached(model, settings, words=NO_WORDS):
    engine = prepare_(model)
    adapter = table.attach(engine, settings, name="a", words=words)
    randomise(adapter)
    return engine, adapter


def plain(family, tensors):
    """Transformers' own model of other weights, with these in their place."""
    model = tiny_model(family, torch.float32, seed=9)
    # not gemma4's own, which also resizes the table that it adds in each layer
    PreTrainedModel.resize_token_embeddings(model, len(tensors["model.embed_tokens.weight"]))
    found = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if FAMILIES[family]["tie_word_embeddings"] else set()
    assert (set(found.missing_keys), found.unexpected_keys) == (tied, [])
    return model


def assert_same_logits(merged, engine, *, by=(theirs, ours)):
    """Transformers' forward of the merged model against ours, to 1e-5 of the largest logit."""
    found, expected = by[0](merged), by[1](engine, "a")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_every_method_of_the_table_merges_or_refuses():
    kinds = {settings.kind for settings in (DENSE | QUANTISED | NOTHING_TO_MERGE).values()}
    assert kinds == table.METHODS.keys()


@pytest.mark.parametrize(("family", "variant"), pairs(FAMILIES, DENSE))
def test_merged_equals_attached_and_the_base_stays(family, variant):
    engine, adapter = attached(tiny_model(family, torch.float32), DENSE[variant])
    before = base_digest(engine.model)
    merged = plain(family, dict(merge.changed(engine, table.merge(engine, adapter))))
    assert base_digest(engine.model) == before
    assert_same_logits(merged, engine)
    assert not torch.allclose(ours(engine, None), ours(engine, "a"), atol=1e-2)


def test_merging_into_a_16_bit_base_rounds_once():
    engine, adapter = attached(tiny_model("llama", torch.bfloat16), LoraSettings(rank=3, alpha=5))
    tensors = dict(merge.changed(engine, table.merge(engine, adapter)))
    for name, linear in engine.linears.items():
        term = linear.terms["a"]
        change = term.scale * term.b.detach() @ term.a.detach()  # in fp32
        expected = (linear.weight.float() + change).to(torch.bfloat16)
        differs = tensors[f"{name}.weight"] != expected
        assert float(differs.float().mean()) < 1e-3  # ties; rounded twice it is some per cent


@pytest.mark.parametrize(("family", "variant"), pairs(FAMILIES, QUANTISED))
def test_merged_into_the_dequantised_base_equals_attached(family, variant, tmp_path):
    engine = variants.engine_for(family, variant, tmp_path / "base")
    adapter = variants.attach(engine, variant, tmp_path / "base")
    randomise(adapter)
    before = base_digest(engine.model)
    merged = plain(family, dict(merge.changed(engine, table.merge(engine, adapter))))
    assert base_digest(engine.model) == before
    assert_same_logits(merged, engine)


def test_an_adapter_that_adds_nothing_gives_the_dequantised_weights_to_the_last_bit(tmp_path):
    engine = prepare_(four_bit_model(tiny_model("llama", torch.float32), tmp_path / "base"))
    adapter = table.attach(engine, QUANTISED["qlora"], name="a")
    tensors = dict(merge.changed(engine, table.merge(engine, adapter)))
    for name, linear in engine.linears.items():
        assert torch.equal(tensors[f"{name}.weight"], linear.four_bit.dense())


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_into_the_original_says_how_far_that_is_from_the_one_trained_on(family, tmp_path):
    original = tiny_model(family, torch.float32).state_dict()
    base = four_bit_model(tiny_model(family, torch.float32), tmp_path / "base")
    engine, adapter = attached(base, QUANTISED["qlora"])
    gap = RelativeError()
    tensors = dict(
        merge.changed(
            engine,
            table.merge(engine, adapter),
            original=lambda name: read_weight(tmp_path / "base", name),
            gap=gap,
        )
    )
    far, whole = [], []
    for name, linear in engine.linears.items():
        weight, term = original[f"{name}.weight"], linear.terms["a"]
        far.append((weight - linear.dense()).flatten())
        whole.append(weight.flatten())
        assert gap.layers[name] == pytest.approx(float(far[-1].norm() / whole[-1].norm()), rel=1e-5)
        expected = weight + term.scale * term.b.detach() @ term.a.detach()
        torch.testing.assert_close(tensors[f"{name}.weight"], expected, **CLOSE)
    overall = float(torch.cat(far).norm() / torch.cat(whole).norm())
    assert gap.overall == pytest.approx(overall, rel=1e-5)
    assert 0.01 < overall < 0.3
    assert gap.layers.keys() == engine.linears.keys()


def test_dora_merged_into_the_original_has_the_trained_norms(tmp_path):
    base = four_bit_model(tiny_model("qwen3", torch.float32), tmp_path / "base")
    engine, adapter = attached(base, QUANTISED["qlora, dora, pissa"])
    merged = dict(
        merge.changed(
            engine,
            table.merge(engine, adapter),
            original=lambda name: read_weight(tmp_path / "base", name),
        )
    )
    for name, linear in engine.linears.items():
        norms = merged[f"{name}.weight"].norm(dim=1)
        torch.testing.assert_close(norms, linear.terms["a"].output.detach().abs(), **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_tokens_are_read_and_scored_by_the_merged_model(family):
    model = tiny_model(family, torch.float32)
    engine, adapter = attached(model, LoraSettings(rank=2), Words(new_tokens.TOKENS))
    before = base_digest(engine.model)
    merged = plain(family, dict(merge.changed(engine, table.merge(engine, adapter))))
    assert base_digest(engine.model) == before
    assert_same_logits(merged, engine, by=(new_tokens.theirs, new_tokens.ours))


@pytest.mark.parametrize("kind", NOTHING_TO_MERGE)
def test_what_has_nothing_to_merge_is_refused_with_the_alternative(kind, tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    words = Words(init_text=variants.TEXT)
    adapter = table.attach(engine, NOTHING_TO_MERGE[kind], name="a", words=words)
    with pytest.raises(AdapterError, match="nothing to merge") as error:
        merge.save(engine, adapter, Target(tmp_path / "out", source=tmp_path, origin=ORIGIN))
    assert {"full": "model/"}.get(kind, "beside the base") in error.value.remedy
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_is_not_attached_is_refused(tmp_path):
    engine, adapter = attached(tiny_model("llama", torch.float32), DENSE["plain"])
    adapter.detach()
    with pytest.raises(AdapterError, match="'a' is not attached"):
        merge.save(engine, adapter, Target(tmp_path / "out", source=tmp_path, origin=ORIGIN))


def loaded(folder, settings, words=NO_WORDS, **options):
    base = load_base(str(folder), dtype="float32", device="cpu", **options)
    engine, adapter = attached(base.model, settings, words)
    return base, engine, adapter


@pytest.mark.parametrize("shard_bytes", [20_000, weights.SHARD_BYTES])
def test_a_merged_folder_is_a_base_of_its_own(tmp_path, shard_bytes, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", shard_bytes)
    source = tiny_folder(tmp_path / "base")
    (source / "LICENSE").write_text("free")
    (source / FILE).write_text("of the base, which was merged itself")
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    before = hash_folder(source, fresh=True)
    base, engine, adapter = loaded(source, DENSE["dora"])
    done = merge.save(engine, adapter, Target(tmp_path / "out", source=source, origin=ORIGIN))
    assert hash_folder(source, fresh=True) == before
    assert (done.into, done.gap, done.four_bit) == ("trained", None, False)
    assert done.bytes == sum(path.stat().st_size for path in done.folder.iterdir())
    merged = AutoModelForCausalLM.from_pretrained(done.folder)
    assert_same_logits(merged, engine)
    again = load_base(str(done.folder), dtype="float32", device="cpu")
    assert again.stop_ids == base.stop_ids == {0, 2}
    messages = [{"role": "user", "content": "hello"}]
    for tokenizer in (again.tokenizer, AutoTokenizer.from_pretrained(done.folder)):
        assert tokenizer.apply_chat_template(messages) == base.tokenizer.apply_chat_template(
            messages
        )
    assert (done.folder / "LICENSE").read_text() == "free"
    assert "Merged into the base that the adapter was trained on." in (
        done.folder / "README.md"
    ).read_text(encoding="utf-8")
    assert read_origin(done.folder) == ORIGIN
    told = json.loads((done.folder / FILE).read_text())
    assert told["merged"] == {"into": "trained", "four_bit": False, "difference": None}
    shards = list(done.folder.glob("*.safetensors"))
    assert (len(shards) > 1) == (shard_bytes == 20_000)


@pytest.mark.parametrize("into", ["trained", "original"])
def test_a_qlora_folder_is_dense_and_says_which_base_it_was_merged_into(tmp_path, into):
    source = tiny_folder(tmp_path / "base")
    _, engine, adapter = loaded(source, QUANTISED["qlora"], four_bit=True)
    target = Target(tmp_path / "out", into, torch.bfloat16, source=source, origin=ORIGIN)
    done = merge.save(engine, adapter, target)
    config = json.loads((done.folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "bfloat16"
    merged = AutoModelForCausalLM.from_pretrained(done.folder)
    stored = load_file(done.folder / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert done.sentence() in card
    far = None if into == "trained" else done.gap.overall
    told = json.loads((done.folder / FILE).read_text())["merged"]
    assert told == {"into": into, "four_bit": True, "difference": far}
    if into == "trained":
        assert "dequantized from 4-bit" in card
        expected = engine.linears["model.layers.0.mlp.up_proj"]
        weight = expected.terms["a"].merged(expected.dense()).bfloat16()
        assert torch.equal(merged.model.layers[0].mlp.up_proj.weight, weight)
    else:
        assert f"{100 * done.gap.overall:.2f} %" in card
        assert 0.01 < done.gap.overall < 0.3


def test_the_original_of_a_base_that_came_in_4_bit_is_refused(tmp_path):
    source = tiny_folder(tmp_path / "base")
    loaded(source, QUANTISED["qlora"], four_bit=True)
    (copy,) = (tmp_path / "home" / "four_bit").glob("base-*")
    _, engine, adapter = loaded(copy, QUANTISED["qlora"])
    target = Target(tmp_path / "out", "original", source=copy, origin=ORIGIN)
    with pytest.raises(AdapterError, match="it is 4-bit itself") as error:
        merge.save(engine, adapter, target)
    assert "the 16-bit base" in error.value.remedy
    assert not (tmp_path / "out").exists()
    done = merge.save(engine, adapter, Target(tmp_path / "out", source=copy, origin=ORIGIN))
    merged = AutoModelForCausalLM.from_pretrained(done.folder)
    assert_same_logits(merged, engine)


def test_new_tokens_bring_their_tokenizer_and_no_file_of_the_old_one_stays(tmp_path):
    source = tiny_folder(tmp_path / "base")
    (source / "added_tokens.json").write_text("{}")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokens = add_tokens_(tokenizer, ["<intent>"])
    _, engine, adapter = loaded(source, LoraSettings(rank=2), Words(tokens))
    target = Target(tmp_path / "out", source=source, origin=ORIGIN)
    with pytest.raises(AdapterError, match="tokens of its own"):
        merge.save(engine, adapter, target)
    done = merge.save(engine, adapter, replace(target, tokenizer=tokenizer))
    assert not (done.folder / "added_tokens.json").exists()
    again = load_base(str(done.folder), dtype="float32", device="cpu")
    assert not [note for note in again.notes if "tokenizer has ids" in note]
    assert again.tokenizer("<intent>", add_special_tokens=False).input_ids == list(tokens)
    assert again.model.config.vocab_size == len(again.tokenizer)


def test_a_folder_that_is_there_stays_and_a_failed_merge_leaves_nothing(tmp_path, monkeypatch):
    source = tiny_folder(tmp_path / "base")
    _, engine, adapter = loaded(source, DENSE["plain"])
    with pytest.raises(AdapterError, match="exists already"):
        merge.save(engine, adapter, Target(source, source=source, origin=ORIGIN))
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("tunesmith.core.files.shutil.disk_usage", lambda path: usage)
    with pytest.raises(RunError, match="the merged model takes") as error:
        merge.save(engine, adapter, Target(tmp_path / "out", source=source, origin=ORIGIN))
    assert "--resume" not in error.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]
