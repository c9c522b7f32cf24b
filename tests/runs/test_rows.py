"""A share of the rows: nested, in order, of the size that was asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.held_out import hold_out
from tests.data.tiny import tokens_of
from tests.runs.tiny import base_folder
from tunesmith.config.run import DataSettings
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data import token_cache
from tunesmith.data.faults import FaultyData
from tunesmith.runs import rows as gathering
from tunesmith.runs.inputs import require_files
from tunesmith.runs.inspect_data import open_tokenizer
from tunesmith.runs.rows import load_rows, part_of


@given(st.integers(1, 200), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 5))
def test_a_smaller_share_is_part_of_a_larger_one(n, a, b, seed):
    rows = list(range(n))
    small, large = (part_of(rows, share=share, seed=seed) for share in sorted((a, b)))
    assert set(small) <= set(large)
    assert small == sorted(small)
    assert len(small) == max(1, round(min(a, b) * n))


def test_the_whole_is_the_rows_and_another_seed_draws_others():
    rows = list("abcdefghij")
    assert part_of(rows, share=1.0, seed=3) == rows
    assert part_of([], share=0.5, seed=0) == []
    assert part_of(rows, share=0.5, seed=0) != part_of(rows, share=0.5, seed=1)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return open_tokenizer(str(base_folder(tmp_path_factory.mktemp("base"))))


@pytest.fixture
def write(tmp_path, home):
    def written(name, *prompts, answer="it is"):
        path = tmp_path / name
        rows = [{"prompt": prompt, "completion": f"{answer} {prompt}"} for prompt in prompts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return written


def load(loaded, progress=None, seed=0, **data):
    settings = DataSettings(**data)
    extra = {} if progress is None else {"progress": progress}
    return load_rows(settings, loaded.tokenizer, context=loaded.context, seed=seed, **extra)


def names(prefix, count=20):
    return [f"{prefix} number {i}" for i in range(count)]


def said(rows):
    return [row.messages[0].content for row in rows.held_conversations]


def test_each_row_weighs_what_its_source_does(loaded, write):
    a, b = write("a.jsonl", *names("red")), write("b.jsonl", *names("blue"))
    rows = load(loaded, train=[{"path": a, "weight": 2.0}, {"path": b, "weight": 0.5}], eval=0.2)
    files = [rows.train[i].file for i in range(len(rows.train))]
    assert rows.copies.tolist() == [2.0 if file == a else 0.5 for file in files]
    assert set(files) == {a, b}
    assert len(load(loaded, train=[a, b], eval=0.2).copies) == 0


def test_files_of_different_layouts_are_trained_together(loaded, write, tmp_path):
    lines = write("a.jsonl", *names("red", 4))
    table, lists = tmp_path / "b.csv", tmp_path / "c.json"
    table.write_bytes("앞말,뒷말\n밥 먹었어,응\n잘 지내,네\n".encode("cp949"))
    lists.write_text(json.dumps([["green one", "it is green"], ["green two", "it is green"]]))
    train = [
        lines,
        {"path": str(table), "encoding": "cp949", "map": {"prompt": "앞말", "answer": "뒷말"}},
        {"path": str(lists), "map": {"prompt": 0, "completion": 1}, "weight": 2},
    ]
    held = tmp_path / "d.csv"
    held.write_text("instruction,output\nask,say\n")
    eval_file = {"path": str(held), "format": "alpaca"}
    rows = load(loaded, train=train, eval=eval_file)
    assert [rows.train[i].file for i in range(8)] == [lines] * 4 + [str(table)] * 2 + [
        str(lists)
    ] * 2
    assert rows.copies.tolist() == [1] * 6 + [2] * 2
    assert said(rows) == ["ask"]
    texts = [loaded.tokenizer.decode(rows.train[i].ids) for i in range(8)]
    alone = load(
        loaded, train=str(table), encoding="cp949", map={"prompt": "앞말", "answer": "뒷말"}, eval=0
    )
    assert texts[4:6] == [loaded.tokenizer.decode(alone.train[i].ids) for i in range(2)]
    with pytest.raises(FaultyData) as caught:
        load(loaded, train=[lines, str(table)], eval=0, encoding="cp949")
    assert {fault.file for fault in caught.value.faults} == {str(table)}


def test_no_row_is_on_both_sides_and_none_is_lost(loaded, write):
    path = write("a.jsonl", *names("red", 30), "red number 3", "RED  number 3")
    rows = load(loaded, train=path, eval=0.2)
    train, held = rows.train.lines.tolist(), rows.held.lines.tolist()
    assert sorted(train + held) == list(range(1, 33))
    assert not {4, 31, 32} & set(held) or {4, 31, 32} <= set(held)
    assert [row.line for row in rows.held_conversations] == held


def test_the_held_out_rows_are_those_of_a_split_of_the_conversations(loaded, write):
    """Whatever they are read from, and whoever asks first."""
    path = write("a.jsonl", *names("red", 40))
    rows = load(loaded, train=path, eval=0.25, seed=3)
    everything = load(loaded, train=path, eval=0).train
    assert len(everything) == 40
    whole = gathering.load_sources(
        DataSettings(train=path, eval=0), loaded.tokenizer, context=256, seed=0, progress=SILENT
    )
    conversations = list(whole.train.conversations(np.arange(40)))
    _, held = hold_out(conversations, share=0.25, seed=3)
    assert [row.line for row in held] == rows.held.lines.tolist()
    assert list(rows.held_conversations) == held


def test_documents_of_one_row_stay_on_one_side(loaded, tmp_path, home):
    turns = [("user", "q"), ("assistant", "a"), ("user", "p"), ("assistant", "b")]
    path = tmp_path / "chats.jsonl"
    with path.open("w") as file:
        for i in range(20):
            messages = [{"role": role, "content": f"{text} {i}"} for role, text in turns]
            file.write(json.dumps({"messages": messages}) + "\n")
    rows = load(loaded, train=str(path), eval=0.2, document="answer")
    assert len(rows.train) + len(rows.held) == 40
    assert not set(rows.train.lines.tolist()) & set(rows.held.lines.tolist())
    assert len(rows.held_conversations) == len(rows.held) // 2


def test_a_file_can_be_held_out_and_long_rows_of_it_are_not_asked(loaded, write):
    path = write("a.jsonl", *names("red"))
    held = write("h.jsonl", "short", "long " * 200, "other")
    rows = load(loaded, train=path, eval=held, overflow="drop")
    assert rows.held.lines.tolist() == [1, 3]
    assert said(rows) == ["short", "other"]
    assert len(rows.train) == 20


def test_what_is_left_out_for_its_length_counts_on_neither_side(loaded, write):
    long = [f"{name} {'long ' * 200}" for name in names("blue", 20)]
    path = write("a.jsonl", *names("red", 20), *long)
    rows = load(loaded, train=path, eval=0.25, overflow="drop")
    assert len(rows.train) + len(rows.held) == 20
    assert len(rows.held) == 5
    codes = {note.code: note.count for note in rows.train.notes}
    assert codes["dropped"] == 20


def test_rows_that_are_dropped_by_name_are_gone_and_counted(loaded, write):
    path = write("a.jsonl", *names("red", 10), *names("red", 4))
    rows = load(loaded, train=path, eval=0, drop=["duplicates"])
    assert rows.train.lines.tolist() == list(range(1, 11))
    assert {note.code: note.count for note in rows.train.notes}["dropped"] == 4


def test_a_second_time_nothing_is_made_and_all_is_the_same(loaded, write, monkeypatch):
    a, b = write("a.jsonl", *names("red")), write("b.jsonl", *names("blue"))
    heard = []
    asked = {"train": [a, b], "eval": 0.3, "drop": ["duplicates"]}
    first = load(loaded, **asked)
    monkeypatch.setattr(token_cache, "_tokenized", pytest.fail)
    monkeypatch.setattr(gathering, "analyze", pytest.fail)
    again = load(loaded, progress=Progress(heard.append), **asked)
    assert [event.code for event in heard] == ["cached", "cached"]
    assert tokens_of(first.train) == tokens_of(again.train)
    assert said(first) == said(again)
    assert first.train.notes == again.train.notes


@pytest.mark.parametrize("change", [{"seed": 1}, {"eval": 0.2}, {"drop": ["long_tail"]}])
def test_what_was_compared_otherwise_is_compared_again(loaded, write, monkeypatch, change):
    path = write("a.jsonl", *names("red"))
    load(loaded, train=path, eval=0.3)
    looked = []
    look = gathering.analyze
    monkeypatch.setattr(gathering, "analyze", lambda *a, **k: looked.append(1) or look(*a, **k))
    load(loaded, **{"train": path, "eval": 0.3, **change})
    assert looked == [1]


def test_every_missing_file_is_told_at_once(tmp_path, home):
    settings = DataSettings(
        train=[str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")], eval=str(tmp_path / "c.jsonl")
    )
    with pytest.raises(FaultyData) as refused:
        require_files(settings)
    assert [fault.code for fault in refused.value.faults] == ["missing_file"] * 3


def test_notes_of_several_files_have_no_lines_that_could_be_of_any(loaded, write, tmp_path):
    a, b = write("a.jsonl", *names("red")), write("b.jsonl", *names("blue"))
    for path in (a, b):
        Path(path).write_text(Path(path).read_text().replace("\n", "\n\n", 1))
    both = gathering.load_sources(
        DataSettings(train=[a, b], eval=0),
        loaded.tokenizer,
        context=256,
        seed=0,
        progress=Progress(),
    )
    (blank,) = [note for note in both.train.notes if note.code == "blank_line"]
    assert (blank.count, blank.lines) == (2, ())
    alone = load(loaded, train=a, eval=0).train.notes
    assert [note.lines for note in alone if note.code == "blank_line"] == [(2,)]
