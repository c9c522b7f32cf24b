"""One base, many adapters: they come, go, and answer in one batch as each would alone."""

import functools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.runs.tiny import talking_base
from tunesmith.adapters import store
from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import AdapterError, DataError
from tunesmith.generation.sampling import Sampling
from tunesmith.generation.shared_base import SharedBase
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.runs.locate import named_adapter

pytestmark = pytest.mark.usefixtures("home")
KINDS = {
    "a": LoraSettings(rank=2),
    "b": LoraSettings(rank=3, alpha=5, rslora=True, targets=["q_proj", "o_proj"]),
    "p": PromptSettings(tokens=3, init="random"),
    "t": PTuningSettings(tokens=2),
}
ROWS = ["hello", "one two", "x" * 40, "hello"]
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base that talks, and an adapter of each kind beside it."""
    root = tmp_path_factory.mktemp("shared")
    base = talking_base(root / "base")
    loaded = open_base(str(base), dtype="float32", device="cpu")
    for number, (name, settings) in enumerate(KINDS.items()):
        adapter = table.attach(loaded.engine, settings, name=name)
        g = torch.Generator().manual_seed(number)
        for parameter in adapter.trained.values():
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=g))
        adapter.refresh()
        store.save(root / name, adapter, loaded.engine, base=str(base))
        adapter.detach()
    return root


@pytest.fixture
def base(folders):
    find = functools.partial(named_adapter, root=folders)
    return SharedBase.open(str(folders / "base"), dtype="float32", device="cpu", find=find)


def test_a_mixed_batch_answers_as_each_adapter_alone(base, folders):
    for name in KINDS:
        assert base.adapters.load(folders / name) == name
    names = [None, *KINDS]
    alone = {}
    for name in names:
        with base.using(name):
            alone[name] = [base.generate([row], sampling=SHORT)[0] for row in ROWS]
    rows = [row for row in ROWS for _ in names]
    mixed = base.generate(rows, adapters=[*names] * len(ROWS), sampling=SHORT)
    expected = [alone[name][i] for i in range(len(ROWS)) for name in names]
    assert mixed == expected
    assert len({tuple(texts) for texts in alone.values()}) == len(names), "they answer alike"


def test_an_adapter_answers_as_in_a_base_of_its_own(base, folders):
    base.adapters.load(folders / "b")
    base.adapters.load(folders / "a")
    other = SharedBase.open(str(folders / "base"), dtype="float32", device="cpu")
    other.adapters.load(folders / "a", name="it")
    with other.using("it"):
        assert other.generate(ROWS, sampling=SHORT) == base.generate(
            ROWS, adapters=["a"] * len(ROWS), sampling=SHORT
        )


def test_an_adapter_is_found_by_its_name_below_the_root(base, folders):
    assert base.adapters.load("a") == "a"
    assert list(base.adapters) == ["a"]


def test_what_was_unloaded_leaves_the_base_as_it_was(base, folders):
    before = base.generate(ROWS, sampling=SHORT)
    for name in KINDS:
        base.adapters.load(name)
    for name in KINDS:
        base.adapters.unload(name)
    assert len(base.adapters) == 0
    assert base.generate(ROWS, sampling=SHORT) == before
    assert not any(linear.terms for linear in base.loaded.engine.linears.values())
    assert base.loaded.engine.prefixes == {}
    with pytest.raises(AdapterError, match="'a' is loaded"):
        base.generate(["x"], adapters=["a"])


def test_using_ends_where_it_ends_also_on_an_error(base):
    base.adapters.load("a")
    plain = base.generate(ROWS, sampling=SHORT)

    def fail():
        with base.using("a"):
            assert base.generate(ROWS, sampling=SHORT) != plain
            with base.using(None):
                assert base.generate(ROWS, sampling=SHORT) == plain
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert base.generate(ROWS, sampling=SHORT) == plain
    with pytest.raises(AdapterError, match="No adapter 'z'"), base.using("z"):
        pass


def test_an_answer_ends_with_the_models_context_and_what_leaves_no_room_is_refused(base):
    sure = Sampling(max_new_tokens=100_000)
    assert base.generate(["hello"], sampling=sure)
    with pytest.raises(DataError, match="no room for an answer"):
        base.generate(["hello " * base.loaded.base.context])


def test_messages_and_texts_ask_alike_and_what_is_neither_is_refused(base):
    asked = [{"role": "user", "content": "hello"}]
    assert base.generate([asked], sampling=SHORT) == base.generate(["hello"], sampling=SHORT)
    with pytest.raises(DataError, match="refuses this row"):
        base.generate([[{"content": "hello"}]])
    with pytest.raises(ValueError, match="2 rows cannot have 1 adapter"):
        base.generate(["a", "b"], adapters=[None])


def test_a_name_is_taken_once(base, folders):
    base.adapters.load("a")
    with pytest.raises(AdapterError, match="'a' is loaded already"):
        base.adapters.load("b", name="a")
    base.adapters.load("b", name="a-2")
    assert set(base.adapters) == {"a", "a-2"}


def named(folders, tmp_path, name, **origin):
    """The adapter `a` with another name of its base, or with the hash of one."""
    folder = tmp_path / name
    folder.mkdir()
    for path in (folders / "a").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text())
    changed = {**config, "base_model_name_or_path": "some/other"}
    (folder / "adapter_config.json").write_text(json.dumps(changed))
    if origin:
        write_origin(folder, Origin("some/other", kind="lora", **origin))
    return folder


def test_another_base_is_refused_and_only_its_name_can_be_overridden(base, folders, tmp_path):
    by_name = named(folders, tmp_path, "by-name")
    with pytest.raises(AdapterError, match=r"it names 'some/other' as its base") as refused:
        base.adapters.load(by_name)
    assert "--force" in refused.value.remedy
    assert base.adapters.load(by_name, force=True) == "by-name"
    by_hash = named(folders, tmp_path, "by-hash", sha256="0" * 64)
    for force in (False, True):
        with pytest.raises(AdapterError, match=r"has the SHA-256 000000000000\.\.\."):
            base.adapters.load(by_hash, force=force)
    right = hash_folder(folders / "base")[COMBINED]
    assert base.adapters.load(named(folders, tmp_path, "same", sha256=right)) == "same"


def test_an_answer_is_what_is_said_after_the_thinking(base, monkeypatch):
    text = "<think>\n\n</think>\n\nParis\nor so"
    ids = base.loaded.base.tokenizer(text, add_special_tokens=False)["input_ids"]
    made = [SimpleNamespace(row=0, ids=ids)]
    monkeypatch.setattr("tunesmith.generation.shared_base.generate", lambda *_, **__: made)
    assert base.generate(["q"]) == ["Paris\nor so"]
    assert base.generate(["q"], sampling=replace(SHORT, stop=("\n",))) == ["Paris"]
