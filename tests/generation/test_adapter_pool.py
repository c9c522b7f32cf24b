"""Adapters on demand: few are attached, the least recently used leaves, and no path leads out."""

import shutil

import pytest
import torch

from tests.runs.tiny import base_folder
from tunesmith.adapters import store
from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.generation.adapter_pool import AdapterPool
from tunesmith.generation.shared_base import SharedBase
from tunesmith.methods import table

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A base, and a folder of adapters over it."""
    root = tmp_path_factory.mktemp("pool")
    base = base_folder(root / "base")
    loaded = open_base(str(base), dtype="float32", device="cpu")
    for name in "abc":
        adapter = table.attach(loaded.engine, LoraSettings(rank=2), name=name)
        store.save(root / "adapters" / name, adapter, loaded.engine, base=str(base))
        adapter.detach()
    return root


@pytest.fixture
def shared(root):
    return SharedBase.open(str(root / "base"), dtype="float32", device="cpu")


def pool_of(shared, where, named=(), **options):
    values = {"root": where / "adapters", "most": 2, "forget": lambda name: None, **options}
    return AdapterPool(shared.adapters, dict(named), **values)


def test_the_least_recently_used_leaves_and_is_forgotten(shared, root):
    forgotten = []
    pool = pool_of(shared, root, forget=forgotten.append)
    assert pool.names == ("a", "b", "c")
    for name in "aba":
        pool.acquire(name)
        pool.release(name)
    pool.acquire("c")
    assert forgotten == ["b"]
    assert set(shared.adapters) == {"a", "c"} == set(pool.attached)


def test_what_is_in_use_stays(shared, root):
    pool = pool_of(shared, root)
    pool.acquire("a")
    pool.acquire("b")
    with pytest.raises(AdapterError, match=r"All adapters .* \(2\) are answering") as refused:
        pool.acquire("c")
    assert refused.value.code == "busy"
    pool.release("a")
    pool.acquire("c")
    assert pool.attached == ("b", "c")
    with pytest.raises(AdapterError, match="is answering"):
        pool.remove("b")


@pytest.mark.parametrize("name", ["../base", "/etc", "..", "", "a/../b", "A" * 200, "a\0b"])
def test_no_name_leads_out_of_the_folder(shared, root, name):
    pool = pool_of(shared, root)
    with pytest.raises(AdapterError, match="There is no adapter"):
        pool.acquire(name)
    with pytest.raises(AdapterError, match="cannot name"):
        pool.add(name, root / "adapters" / "a")


@pytest.mark.parametrize("path", ["..", "../base", "/etc", "", "."])
def test_no_path_of_a_client_leads_out_of_the_folder(shared, root, path):
    with pytest.raises(AdapterError, match="not below the folder"):
        pool_of(shared, root).place_below_root(path)
    with pytest.raises(AdapterError, match="--adapters"):
        pool_of(shared, root, root=None).place_below_root("a")


def test_the_adapter_of_a_run_goes_by_the_name_of_the_run(shared, root, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(root / "adapters" / "a", runs / "mine" / "adapter")
    (runs / "failed").mkdir()
    pool = pool_of(shared, root, root=runs)
    assert pool.names == ("mine",)
    pool.acquire("mine")
    assert pool.folder("mine") == pool.place_below_root("mine") == runs / "mine" / "adapter"
    (runs / "out").mkdir()
    (runs / "out" / "adapter").symlink_to(root / "adapters" / "a")
    assert pool.names == ("mine",)
    with pytest.raises(AdapterError, match="not below the folder"):
        pool.place_below_root("out")


def test_a_link_that_leads_out_is_no_adapter(shared, root, tmp_path):
    below = tmp_path / "adapters"
    below.mkdir()
    (below / "out").symlink_to(root / "adapters" / "a")
    assert pool_of(shared, root, root=below).names == ()


def test_an_adapter_of_another_base_is_refused_and_takes_no_place(shared, root, tmp_path):
    other = tmp_path / "adapters" / "other"
    other.mkdir(parents=True)
    for path in (root / "adapters" / "a").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    write_origin(other, Origin("another", sha256="0" * 64, kind="lora"))
    pool = pool_of(shared, root, root=other.parent)
    with pytest.raises(AdapterError, match="SHA-256 000000000000"):
        pool.acquire("other")
    assert pool.attached == ()
    assert len(shared.adapters) == 0


def test_a_pickle_is_refused_before_it_is_read(shared, tmp_path, root):
    evil = tmp_path / "adapters" / "evil"
    evil.mkdir(parents=True)
    config = (root / "adapters" / "a" / "adapter_config.json").read_bytes()
    (evil / "adapter_config.json").write_bytes(config)
    torch.save({}, evil / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"pickle|safetensors"):
        pool_of(shared, root, root=evil.parent).acquire("evil")


def test_a_name_that_was_added_is_known_until_it_is_removed(shared, root):
    pool = pool_of(shared, root, root=None)
    pool.add("mine", root / "adapters" / "a")
    assert pool.names == ("mine",)
    pool.acquire("mine")
    pool.release("mine")
    with pytest.raises(AdapterError, match="Another adapter is called 'mine'"):
        pool.add("mine", root / "adapters" / "b")
    pool.remove("mine")
    assert (pool.names, len(shared.adapters)) == ((), 0)
    with pytest.raises(AdapterError, match="no adapter 'mine'"):
        pool.remove("mine")


def test_what_was_given_at_the_start_stays(shared, root):
    pool = pool_of(shared, root, {"mine": root / "adapters" / "a"}, root=None)
    with pytest.raises(AdapterError, match="was started with the adapter 'mine'") as refused:
        pool.remove("mine")
    assert refused.value.code == "not_allowed"
    assert pool.names == ("mine",)


def test_a_name_that_is_added_again_is_read_anew_and_one_below_the_root_is_its_folder(shared, root):
    forgotten = []
    pool = pool_of(shared, root, forget=forgotten.append)
    with pytest.raises(AdapterError, match="Another adapter is called 'b'"):
        pool.add("b", root / "adapters" / "a")
    pool.acquire("a")
    with pytest.raises(AdapterError, match="is answering"):
        pool.add("a", root / "adapters" / "a")
    pool.release("a")
    pool.add("a", root / "adapters" / "a")
    assert (forgotten, pool.attached) == (["a"], ())
