"""What lies in object storage is read through a copy in the cache, of the version it has now."""

import sys

import fsspec
import pytest

from tunesmith.core import remote
from tunesmith.core.errors import StorageError


@pytest.fixture
def bucket(home):
    """Object storage in memory, and nothing else in it."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


def test_paths_of_this_machine_are_not_remote():
    assert remote.is_remote("s3://bucket/rows.jsonl")
    assert not any(map(remote.is_remote, ("rows.jsonl", "/a/b", "C:\\rows.jsonl", "hf:a/b")))


def test_a_file_is_copied_once_and_again_when_it_changes(bucket, home):
    bucket.pipe("/b/rows.jsonl", b"one")
    first = remote.copied("memory://b/rows.jsonl")
    assert (first.name, first.read_bytes()) == ("rows.jsonl", b"one")
    assert first.is_relative_to(home)
    assert remote.copied("memory://b/rows.jsonl") == first
    bucket.pipe("/b/rows.jsonl", b"two")
    assert remote.copied("memory://b/rows.jsonl").read_bytes() == b"two"
    assert first.read_bytes() == b"one"  # somebody may be reading it


def test_a_folder_keeps_its_names(bucket):
    bucket.pipe({"/b/rows/a.jsonl": b"a", "/b/rows/sub/c.jsonl": b"c"})
    place = remote.copied("memory://b/rows/")
    assert sorted(str(p.relative_to(place)) for p in place.rglob("*.jsonl")) == [
        "a.jsonl",
        "sub/c.jsonl",
    ]


def test_a_name_that_leaves_its_folder_is_refused(bucket, home, monkeypatch):
    names = {"/b/rows/../../../evil": {"size": 1}}
    monkeypatch.setattr(type(bucket), "find", lambda *_, **__: names)
    with pytest.raises(StorageError, match="evil"):
        remote.copied("memory://b/rows")
    assert not list(home.rglob("evil"))


def test_what_is_not_there_is_refused_with_what_to_check(bucket):
    with pytest.raises(StorageError) as refused:
        remote.copied("memory://b/none.jsonl")
    assert refused.value.code == "missing_file"
    assert "AWS_ENDPOINT_URL" in refused.value.remedy


def test_storage_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(StorageError) as refused:
        remote.open_storage("s3://b/rows.jsonl")
    assert refused.value.message == (
        "s3://b/rows.jsonl: needs the package s3fs, which is not installed."
    )
    assert refused.value.remedy == "Install it with: pip install 'tunesmith[s3]'"
    with pytest.raises(StorageError, match="no storage is known by nowhere://"):
        remote.open_storage("nowhere://b/rows.jsonl")
