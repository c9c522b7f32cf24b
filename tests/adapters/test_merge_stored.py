"""Merging from the files alone, base and adapter: the same bytes as with both in memory."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.adapters.test_merge import DENSE, ORIGIN
from tests.adapters.test_store import randomise
from tests.families import FAMILIES, tiny_model
from tests.models.tiny import tiny_folder, tiny_tokenizer
from tunesmith.adapters import merge, store
from tunesmith.adapters.loaded_base import open_base, open_skeleton
from tunesmith.adapters.merge import Target
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import AdapterError, ModelError
from tunesmith.data.tokenizer import add_tokens_
from tunesmith.methods import table
from tunesmith.methods.adapter import NO_WORDS, Words
from tunesmith.models import weights

pytestmark = pytest.mark.usefixtures("home")
STORED = {
    "plain": DENSE["plain"],
    "patterns": DENSE["patterns"],
    "dora, rslora": DENSE["dora, rslora"],
    "pissa, dora": DENSE["pissa, dora"],
    "bf16": LoraSettings(rank=3, alpha=7, dtype="bfloat16"),
}


def base_of(family, folder):
    tiny_model(family, torch.float32).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def adapter_over(base, settings, into, words=NO_WORDS):
    """A random adapter in a folder, loaded again: what is saved may be narrower."""
    loaded = open_base(str(base), dtype="float32", device="cpu")
    adapter = table.attach(loaded.engine, settings, name="a", words=words)
    randomise(adapter)
    store.save(into, adapter, loaded.engine, base=str(base))
    adapter.detach()
    return loaded.engine, store.load(loaded.engine, into, name="a")


def both(tmp_path, engine, adapter, **options):
    """Tensors by name of what is merged in memory, and of what is merged in files."""
    base = tmp_path / "base"
    merge.save(engine, adapter, Target(tmp_path / "one", source=base, origin=ORIGIN, **options))
    _, skeleton = open_skeleton(str(base))
    target = Target(tmp_path / "other", source=base, origin=ORIGIN, **options)
    done = merge.save_stored(skeleton, tmp_path / "a", target)
    assert (done.into, done.gap, done.four_bit) == ("trained", None, False)
    return [
        {
            k: v
            for path in (tmp_path / name).glob("*.safetensors")
            for k, v in load_file(path).items()
        }
        for name in ("one", "other")
    ]


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("variant", STORED)
def test_files_merge_to_the_same_bytes(variant, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", 20_000)
    base = tiny_folder(tmp_path / "base")
    merged = both(tmp_path, *adapter_over(base, STORED[variant], tmp_path / "a"))
    assert_same(*merged)
    assert len(list((tmp_path / "other").glob("*.safetensors"))) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_merges_from_its_files(family, tmp_path):
    base = base_of(family, tmp_path / "base")
    assert_same(*both(tmp_path, *adapter_over(base, LoraSettings(rank=2), tmp_path / "a")))


@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_are_merged_from_files_too(tied, tmp_path):
    base = tiny_folder(tmp_path / "base", tie_word_embeddings=tied)
    tokenizer = AutoTokenizer.from_pretrained(base)
    words = Words(add_tokens_(tokenizer, ["<intent>"]))
    engine, adapter = adapter_over(base, LoraSettings(rank=2), tmp_path / "a", words)
    assert_same(*both(tmp_path, engine, adapter, tokenizer=tokenizer))
    _, skeleton = open_skeleton(str(base))
    with pytest.raises(AdapterError, match="tokens of its own"):
        merge.save_stored(
            skeleton, tmp_path / "a", Target(tmp_path / "third", source=base, origin=ORIGIN)
        )


@pytest.mark.parametrize("settings", [PromptSettings(tokens=3, init="random"), PTuningSettings()])
def test_what_has_nothing_to_merge_is_refused(settings, tmp_path):
    base = tiny_folder(tmp_path / "base")
    adapter_over(base, settings, tmp_path / "a")
    _, skeleton = open_skeleton(str(base))
    with pytest.raises(AdapterError, match="nothing to merge"):
        merge.save_stored(
            skeleton, tmp_path / "a", Target(tmp_path / "o", source=base, origin=ORIGIN)
        )
    assert not (tmp_path / "o").exists()


def test_a_base_that_lacks_a_tensor_leaves_nothing(tmp_path):
    base = tiny_folder(tmp_path / "base")
    adapter_over(base, LoraSettings(rank=2), tmp_path / "a")
    _, skeleton = open_skeleton(str(base))
    (base / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="hold no tensor"):
        merge.save_stored(
            skeleton, tmp_path / "a", Target(tmp_path / "o", source=base, origin=ORIGIN)
        )
    assert not (tmp_path / "o").exists()
