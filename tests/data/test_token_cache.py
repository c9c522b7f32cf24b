"""Tokens are made once and found again; a source, or anything else they depend on, that changed is
seen; whatever the disk refuses is said."""

import json
import multiprocessing
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data import tiny
from tests.data.tiny import TEMPLATES, tiny_tokenizer, tokenizer_of
from tunesmith.core import files, progress
from tunesmith.core.errors import DataError
from tunesmith.core.progress import Cancelled, Notice, Progress
from tunesmith.data import token_cache, token_store
from tunesmith.data import token_cache as source_key
from tunesmith.data.read import SourceRequest
from tunesmith.data.template import Rendering
from tunesmith.data.token_cache import Work, tokens_of
from tunesmith.data.tokenize import Recipe
from tunesmith.data.tokenizer import add_tokens_

RECIPE = Recipe(tokenizer_of("chatml"), 200)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def rows(tmp_path):
    """Writes a source of so many rows."""

    def written(count=20, *, name="rows.jsonl", answer="answer", bad=()):
        lines = [{"prompt": f"question {i}", "completion": f"{answer} {i}"} for i in range(count)]
        lines += bad
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)

    return written


@pytest.fixture
def reported_at_once(monkeypatch):
    """Everything is reported, however short it takes."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0.0)


@pytest.fixture
def told():
    """The codes of what was told."""
    return []


@pytest.fixture
def work(tmp_path, told):
    return Work(tmp_path / "cache", hearing(told))


def hearing(told, on_phase=lambda: None):
    """Progress that keeps the codes of notices, and calls ``on_phase`` for phases."""

    def hear(event):
        told.append(event.code) if isinstance(event, Notice) else on_phase()

    return Progress(hear, threads=1)


def made(asked, work, recipe=RECIPE):
    return tokens_of(SourceRequest(asked) if isinstance(asked, str) else asked, recipe, work)


def entries(work):
    return sorted(path.name for path in work.root.iterdir() if path.is_dir())


def same(one, other):
    assert tiny.tokens_of(one.rows) == tiny.tokens_of(other.rows)
    assert one.contents == other.contents
    assert list(one.conversations) == list(other.conversations)


def test_a_second_time_tokens_are_found_not_made(rows, work, told, monkeypatch):
    first = made(rows(), work)
    monkeypatch.setattr(token_cache, "_tokenized", pytest.fail)
    again = made(rows(), work)
    assert told == ["cached"]
    same(first, again)
    assert entries(work) == [first.key]


def test_the_name_of_the_source_does_not_count_and_is_told_as_it_is_now(rows, work, told, tmp_path):
    bad = [{"prompt": "x"}]
    made(rows(bad=bad), work)
    other = tmp_path / "elsewhere"
    other.mkdir()
    moved = shutil.copy(rows(bad=bad), other / "other.jsonl")
    found = made(str(moved), work)
    assert told == ["cached"]
    (fault,) = found.contents.faults.listed
    assert (fault.file, fault.line) == (str(moved), 21)
    assert found.rows[0].file == found.conversations[0].file == str(moved)


CHANGES = {
    "tokenizer": lambda: replace(RECIPE, tokenizer=tokenizer_of("smollm")),
    "template": lambda: replace(
        RECIPE, tokenizer=tiny_tokenizer(TEMPLATES["chatml"] + "{# another #}")
    ),
    "new tokens": lambda: replace(RECIPE, tokenizer=_with_new_token()),
    "documents": lambda: replace(RECIPE, rendering=Rendering(document="answer")),
    "control tokens": lambda: replace(RECIPE, rendering=Rendering(control_tokens="text")),
}


def _with_new_token():
    tokenizer = tiny_tokenizer(TEMPLATES["chatml"])
    add_tokens_(tokenizer, ["question"])
    return tokenizer


@pytest.mark.parametrize("change", CHANGES)
def test_tokens_of_another_recipe_are_others(rows, work, told, change):
    first = made(rows(), work)
    assert made(rows(), work, CHANGES[change]()).key != first.key
    assert told == []


@pytest.mark.parametrize(
    "changed", [{"format": "prompt-completion"}, {"columns": {"prompt": "completion"}}]
)
def test_tokens_that_are_read_in_another_way_are_others(rows, work, changed):
    asked = SourceRequest(rows())
    assert made(asked, work).key != made(replace(asked, **changed), work).key


def test_the_limit_counts_for_texts_only(rows, work, told, tmp_path):
    short = replace(RECIPE, max_tokens=30)
    assert made(rows(), work).key == made(rows(), work, short).key
    text = tmp_path / "a.txt"
    text.write_text("the quick brown fox " * 30)
    assert made(str(text), work).key != made(str(text), work, short).key
    assert made(str(text), work, short).rows.longest == 30


def test_other_code_makes_other_tokens(rows, work, monkeypatch):
    first = made(rows(), work)
    monkeypatch.setattr(source_key, "TOKENS_VERSION", "changed")
    assert made(rows(), work).key != first.key


def test_a_template_with_todays_date_makes_the_tokens_of_a_day(rows, work, monkeypatch):
    dated = tiny_tokenizer(TEMPLATES["chatml"] + "{# strftime_now #}")
    first = made(rows(), work, replace(RECIPE, tokenizer=dated)).key
    monkeypatch.setattr(source_key.time, "strftime", lambda _: "2031-01-01")
    assert made(rows(), work, replace(RECIPE, tokenizer=dated)).key != first
    assert made(rows(), work).key == made(rows(), work).key


def test_a_source_that_changed_never_gives_old_rows(rows, work):
    """Also where size, time stamp and inode are those of before."""
    path = Path(rows())
    before = path.stat()
    first = made(str(path), work)
    with path.open("r+b") as file:
        data = file.read().replace(b"answer 3", b"ANSWER 3")
        file.seek(0)
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    names = ("st_size", "st_mtime_ns", "st_ino")
    assert all(getattr(before, name) == getattr(after, name) for name in names)
    second = made(str(path), work)
    assert second.key != first.key
    assert second.conversations[3].messages[-1].content == "ANSWER 3"


@pytest.mark.usefixtures("reported_at_once")
def test_a_source_that_changes_while_it_is_read_is_refused_and_not_kept(rows, work):
    path = rows()

    def append(_):
        with Path(path).open("a") as file:
            file.write(json.dumps({"prompt": "late", "completion": "row"}) + "\n")

    with pytest.raises(DataError, match="changed while it was read") as refused:
        made(path, replace(work, progress=Progress(append, threads=1)))
    assert refused.value.code == "changed"
    assert entries(work) == []


def test_a_folder_is_one_source_and_any_of_its_files_counts(rows, work, told, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(rows(3), folder / "a.jsonl")
    shutil.copy(rows(2, answer="other"), folder / "b.jsonl")
    first = made(f"{folder}/", work)
    assert [first.rows[i].file for i in (0, 4)] == [f"{folder}/a.jsonl", f"{folder}/b.jsonl"]
    made(str(folder), work)
    assert told == ["cached"]
    shutil.copy(rows(2, answer="changed"), folder / "b.jsonl")
    assert made(str(folder), work).key != first.key


@pytest.mark.parametrize(
    "name", [token_store.ROWS, token_store.CONVERSATIONS, token_store.CONTENTS]
)
def test_damaged_tokens_are_made_again_and_said(rows, work, told, name):
    first = made(rows(), work)
    path = work.root / first.key / name
    data = path.read_bytes()
    path.unlink()  # the first ones are mapped still
    path.write_bytes(data[: len(data) // 2])
    same(made(rows(), work), first)
    assert told == ["cache_damaged"]
    made(rows(), work)
    assert told == ["cache_damaged", "cached"]


@pytest.mark.usefixtures("reported_at_once")
def test_a_cancel_leaves_nothing_half(rows, work):
    cancelled = Progress(cancelled=lambda: True, threads=1)
    with pytest.raises(Cancelled):
        made(rows(600), replace(work, progress=cancelled))
    assert [path for path in work.root.iterdir() if path.is_dir()] == []
    assert made(rows(), work).key in entries(work)


def test_what_is_no_file_is_told_and_nothing_is_kept(work, tmp_path, told):
    found = made(str(tmp_path / "none.jsonl"), work)
    assert [fault.code for fault in found.contents.faults.listed] == ["missing_file"]
    assert found.key is None
    assert entries(work) == told == []


def test_tokens_with_faults_are_kept_too(rows, work, told):
    bad = [{"prompt": "x"}, {"prompt": "q", "completion": "<|im_end|>"}]
    first = made(rows(bad=bad), work)
    assert [fault.code for fault in first.contents.faults.listed] == [
        "missing_column",
        "control_tokens",
    ]
    same(made(rows(bad=bad), work), first)
    assert told == ["cached"]


def test_where_the_cache_cannot_be_written_tokens_are_kept_for_now_and_it_is_said(rows, work, told):
    kept = made(rows(), work)
    work.root.with_name("file").write_text("")
    nowhere = replace(work, root=work.root.with_name("file") / "cache")
    for _ in range(2):
        found = made(rows(), nowhere)
        same(found, kept)
        assert found.key is None
    assert told == ["not_cached"] * 2


@pytest.mark.parametrize("at", [0, 1])
def test_a_full_disk_in_the_middle_is_said_and_tokens_are_kept_for_now(
    rows, work, told, monkeypatch, at
):
    kept = made(rows(600), replace(work, root=work.root.with_name("other")))
    write, seen = token_store.write, []

    def full(folder, fill):
        def watched(*sinks):
            seen.append(folder)
            if len(seen) > 1:
                return fill(*sinks)
            (folder / "x").write_text("half")
            if at:
                fill(*sinks)
            raise OSError(28, "No space left on device")

        write(folder, watched)

    monkeypatch.setattr(token_store, "write", full)
    same(made(rows(600), work), kept)
    assert told == ["not_cached"]
    assert seen
    assert not seen[0].exists()


def test_no_room_is_seen_before_anything_is_made(rows, work, told, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 10))
    monkeypatch.setattr(files, "replace_folder", pytest.fail)
    assert made(rows(), work).key is None
    assert told == ["not_cached"]


def test_where_there_is_no_room_at_all_it_is_refused(rows, work, monkeypatch):
    work.root.parent.joinpath("file").write_text("")
    nowhere = replace(work, root=work.root.parent / "file" / "cache")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(token_store, "write", full)
    with pytest.raises(DataError, match=r"no room.*Not a directory.*No space left") as refused:
        made(rows(600), nowhere)
    assert "TUNESMITH_HOME" in refused.value.remedy


def _make(path, root, ready, queue):
    def slow():
        ready.set()
        time.sleep(0.3)

    told = []
    found = made(path, Work(root, hearing(told, slow)))
    queue.put((found.rows.tokens, told))


@pytest.mark.usefixtures("reported_at_once")
def test_two_processes_at_once_make_tokens_once(rows, work, told):
    ready, queue = FORK.Event(), FORK.SimpleQueue()
    path = rows(600)
    other = FORK.Process(target=_make, args=(path, work.root, ready, queue))
    other.start()
    assert ready.wait(60)
    found = made(path, work)
    assert told == ["waiting", "cached"]
    assert queue.get() == (found.rows.tokens, [])
    other.join()


@pytest.mark.usefixtures("reported_at_once")
def test_threads_of_one_process_make_tokens_once(rows, tmp_path):
    path, told, found = rows(300), [], []
    work = Work(tmp_path / "cache", hearing(told, lambda: time.sleep(0.2)))
    threads = [threading.Thread(target=lambda: found.append(made(path, work))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(*found)
    assert sorted(told) == ["cached", "waiting"]


@pytest.mark.usefixtures("reported_at_once")
def test_progress_is_reported_by_the_line(rows, work):
    seen = []
    path = rows(600)
    made(path, replace(work, progress=Progress(seen.append, threads=1)))
    assert [(event.done, event.total) for event in seen] == [(255, 600), (511, 600), (600, 600)]
    assert {event.phase for event in seen} == {f"tokenizing {path}"}


def test_processes_and_none_keep_the_same_tokens(rows, work, monkeypatch):
    monkeypatch.setattr(token_cache, "CHUNKS_HERE", 1)
    path = rows(900, bad=[{"prompt": "x"}])
    alone = made(path, work)
    shutil.rmtree(work.root)
    same(made(path, replace(work, progress=Progress(threads=2))), alone)


@pytest.mark.parametrize(
    "bad",
    [
        {"prompt": "q", "completion": "a", "\ud800": 1},
        {"prompt": "q", "\udfff": "a"},
        {"prompt": "q", "completion": [{"role": "\ud800", "content": "a"}]},
        {"prompt": "q", "completion": [{"role": "assistant", "content": "a", "\ud800": 1}]},
        {"prompt": "q", "completion": "\ud83d"},
    ],
)
def test_half_a_character_anywhere_is_told_and_kept(rows, work, bad):
    file = rows(3, bad=[bad])
    first, again = made(file, work), made(file, work)
    assert first.key == again.key
    assert first.contents == again.contents
    faults, notes = first.contents.faults.listed, first.contents.notes
    told = [each for each in (*faults, *notes) if getattr(each, "line", 4) == 4]
    assert told
    for each in told:
        assert each.message.encode()
