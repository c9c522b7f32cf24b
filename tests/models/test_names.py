"""A base's name means the same everywhere, and its folder is found by its content."""

import pytest

from tests.models.tiny import tiny_folder
from tunesmith.models import catalog, names
from tunesmith.models.hashes import COMBINED, hash_folder

pytestmark = pytest.mark.usefixtures("home")
(ENTRY,) = catalog.ENTRIES


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        (ENTRY.name, "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("acme/base-1b", "acme/base-1b"),
        ("/x/hub/models--acme--base-1b/snapshots/0123/", "acme/base-1b"),
        ("models/x/base-1b", None),
        ("/models/base-1b", None),
        ("base.gguf", None),
    ],
)
def test_a_hub_id_is_known_where_there_is_one(name, hub_id):
    assert names.hub_id_of(name) == hub_id


def test_the_folder_of_a_short_name_has_its_hub_id_and_a_local_folder_none(tmp_path, monkeypatch):
    assert names.hub_id_of(str(ENTRY.folder)) == ENTRY.hub_id
    (tmp_path / "acme" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert names.hub_id_of("acme/base") is None


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        (ENTRY.name, ENTRY.name),
        ("acme/base-1b", "acme/base-1b"),
        ("/home/me/base", "base"),
        ("~/models/base/", "base"),
        ("C:\\models\\base", "base"),
        ("/home/me/base.Q4.gguf", "base.Q4.gguf"),
    ],
)
def test_a_name_travels_without_its_folders(name, portable):
    assert names.portable_name(name) == portable


def test_here_is_called_by_the_folder_that_it_is(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path / "base")
    assert names.portable_name(".") == "base"


def test_a_base_is_found_where_it_was_last_used_until_it_is_gone(tmp_path):
    folder = tiny_folder(tmp_path / "base")
    sha256 = hash_folder(folder)[COMBINED]
    assert names.known_folder(sha256) == folder
    moved = folder.rename(tmp_path / "moved")
    assert names.known_folder(sha256) is None
    hash_folder(moved)
    assert names.known_folder(sha256) == moved
