"""The hash of a base changes with its bytes, and only with those that define it."""

import os

import pytest

from tests.models.tiny import tiny_folder
from tunesmith.core.errors import ModelError
from tunesmith.models import hashes

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def folder(tmp_path):
    return tiny_folder(tmp_path / "base")


def age(path, seconds=100):
    stat = path.stat()
    os.utime(path, (stat.st_atime - seconds, stat.st_mtime - seconds))


def test_every_defining_file_is_hashed_and_changes_the_whole(folder):
    before = hashes.hash_folder(folder)
    defining = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert defining <= before.keys()
    for name in defining:
        path = folder / name
        kept = path.read_bytes()
        path.write_bytes(kept + b" ")
        after = hashes.hash_folder(folder)
        assert {key for key in before if before[key] != after[key]} == {name, "combined"}
        path.write_bytes(kept)
    (folder / "README.md").write_text("card")
    assert hashes.hash_folder(folder) == before


def test_folder_stays_as_it_was_and_its_place_does_not_count(folder, tmp_path):
    names = sorted(path.name for path in folder.iterdir())
    before = hashes.hash_folder(folder)
    assert sorted(path.name for path in folder.iterdir()) == names
    assert hashes.hash_folder(folder.rename(tmp_path / "elsewhere")) == before


def test_unchanged_file_is_read_once_and_a_changed_one_again(folder, monkeypatch):
    path = folder / "config.json"
    age(path)
    first = hashes.file_sha256(path)
    with monkeypatch.context() as shut:
        shut.setattr(hashes, "sha256_of", lambda _: pytest.fail("read again"))
        assert hashes.file_sha256(path) == first
    path.write_bytes(path.read_bytes()[::-1])
    assert hashes.file_sha256(path) != first


def test_fresh_finds_what_the_time_stamp_hides(folder):
    path = folder / "config.json"
    age(path)
    stat, first = path.stat(), hashes.file_sha256(path)
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert hashes.hash_folder(folder)["config.json"] == first
    assert hashes.hash_folder(folder, fresh=True)["config.json"] != first


def test_damaged_memory_is_not_believed(folder, home):
    path = folder / "config.json"
    age(path)
    first = hashes.file_sha256(path)
    (memory,) = (home / "hashes").iterdir()
    memory.write_text("{")
    assert hashes.file_sha256(path) == first


def test_folder_without_a_base_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no base"):
        hashes.hash_folder(tmp_path)
