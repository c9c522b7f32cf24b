"""A folder of tokens is whole or says that it is not; what is too much or half written goes."""

import json
import os

import pytest

from tests.data.test_token_file import CHATML, LAYOUT, conversations
from tunesmith.core import files, locks
from tunesmith.data import token_store
from tunesmith.data.token_store import (
    CONTENTS,
    CONVERSATIONS,
    ROWS,
    Damaged,
    TokenWriter,
    open_folder,
    remember,
    remembered,
    sweep,
)
from tunesmith.data.tokenize import ChunkTokenizer, Recipe

MADE = ChunkTokenizer(Recipe(CHATML, 500)).conversations(conversations())


def fill(*sinks):
    writer = TokenWriter(*sinks)
    writer.write(MADE)
    return writer.close(LAYOUT)


@pytest.fixture
def folder(tmp_path):
    files.replace_folder(tmp_path / "key", lambda into: token_store.write(into, fill))
    return tmp_path / "key"


def test_what_was_written_is_found(folder):
    found = open_folder(folder, source="x")
    assert len(found.rows) == len(found.conversations) == 30
    assert found.rows.tokens == len(MADE.block.ids)


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert open_folder(tmp_path / "none", source="x") is None


@pytest.mark.parametrize("name", [ROWS, CONVERSATIONS, CONTENTS])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_any_changed_byte_is_seen(folder, name, place):
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(Damaged):
        open_folder(folder, source="x")


@pytest.mark.parametrize("name", [ROWS, CONVERSATIONS, CONTENTS])
@pytest.mark.parametrize("size", [0, 8, -1])
def test_a_cut_file_is_seen(folder, name, size):
    os.truncate(folder / name, size if size >= 0 else (folder / name).stat().st_size - 1)
    with pytest.raises(Damaged):
        open_folder(folder, source="x")


@pytest.mark.parametrize("name", [ROWS, CONVERSATIONS, CONTENTS])
def test_a_missing_file_is_seen(folder, name):
    (folder / name).unlink()
    with pytest.raises(Damaged):
        open_folder(folder, source="x")


def test_what_is_known_of_the_rows_cannot_be_changed_either(folder):
    values = json.loads((folder / CONTENTS).read_text())
    values["contents"]["records"] = 31
    (folder / CONTENTS).write_text(json.dumps(values))
    with pytest.raises(Damaged, match=r"contents\.json changed"):
        open_folder(folder, source="x")


def test_what_follows_from_the_rows_is_kept_with_them(folder):
    assert remembered(folder, "a") is None
    remember(folder, "a", "text\nof two lines")
    assert remembered(folder, "a") == "text\nof two lines"
    assert open_folder(folder, source="x") is not None
    path = folder / "a.txt"
    path.write_text(path.read_text().replace("two", "few"))
    assert remembered(folder, "a") is None
    path.write_bytes(b"\xff")
    assert remembered(folder, "a") is None
    remember(folder.with_name("none"), "a", "text")
    assert not folder.with_name("none").exists()


def entry(root, name, *, size, used):
    folder = root / name
    folder.mkdir()
    (folder / ROWS).write_bytes(bytes(size))
    (folder / CONTENTS).write_text("")
    os.utime(folder / CONTENTS, (used, used))
    return folder


def test_what_was_used_longest_ago_goes_first_and_the_newest_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(token_store, "MAX_BYTES", 250)
    kept = entry(tmp_path, "newest", size=1000, used=1)
    for name, used in (("b", 20), ("a", 30), ("c", 10)):
        entry(tmp_path, name, size=100, used=used)
    sweep(tmp_path, keep=kept)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"newest"}
    monkeypatch.setattr(token_store, "MAX_BYTES", 1250)
    for name, used in (("b", 20), ("a", 30), ("c", 10)):
        entry(tmp_path, name, size=100, used=used)
    sweep(tmp_path, keep=kept)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"newest", "a", "b"}


def test_to_open_a_folder_is_to_use_it(folder):
    os.utime(folder / CONTENTS, (1, 1))
    open_folder(folder, source="x")
    assert (folder / CONTENTS).stat().st_mtime > 1


def test_what_a_killed_process_left_goes_and_what_is_written_now_stays(tmp_path, monkeypatch):
    left, busy = (tmp_path / f"{files.TEMPORARY}{name}" for name in ("aa1", "bb2"))
    old = tmp_path / f"{files.OLD}aa3"
    for path in (left, busy, old):
        path.mkdir()
        (path / ROWS).write_text("half")
    monkeypatch.setattr(token_store, "MAX_BYTES", 0)  # nor is it removed to make room
    with locks.held(token_store.lock_of(busy), taken=pytest.fail):
        sweep(tmp_path, keep=tmp_path / "none")
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {busy.name}
