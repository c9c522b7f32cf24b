"""The hub: asked only by its prefix, through a library that may be missing, never by code."""

import importlib.util
import sys
import types

import pytest

from tests.data.files.reading import read
from tunesmith.data.records import exists, files_of


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the library; what it was asked is in ``asked``."""
    asked = []

    def load_dataset(*names, **options):
        asked.append((*names, options))
        if names[0] == "no/such":
            raise ConnectionError("Couldn't reach the hub.\nTry again.")
        rows = [{"prompt": "q", "completion": {"a": None, "b": 1}}]
        return rows if names[0] != "empty/set" else []

    module = types.SimpleNamespace(load_dataset=load_dataset, asked=asked)
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: module)
    return module


def test_rows_of_the_part_that_was_asked_for(hub):
    assert read("hf:owner/name").rows == [{"prompt": "q", "completion": {"b": 1}}]
    read("hf:owner/name:main", part="test")
    assert hub.asked == [
        ("owner/name", None, {"split": "train", "streaming": True}),
        ("owner/name", "main", {"split": "test", "streaming": True}),
    ]


def test_what_fails_there_is_a_fault_of_the_data(hub):
    assert read("hf:no/such").faults == [("hub", 0)]
    assert read("hf:empty/set").faults == [("empty_file", 0)]


def test_without_the_library_the_remedy_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert read("hf:owner/name").faults == [("not_installed", 0)]


def test_a_path_that_does_not_exist_is_never_asked_there(hub, tmp_path):
    assert read(tmp_path / "owner" / "name").faults == [("missing_file", 0)]
    assert hub.asked == []
    assert not exists("owner/name")
    assert exists("hf:owner/name")
    assert files_of("hf:owner/name") == []


def test_a_folder_of_the_library_is_read_as_the_hub_would_be(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "train.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    found = read(f"hf:{tmp_path}")
    assert (found.rows, found.faults) == ([{"prompt": "q", "completion": "a"}], [])
