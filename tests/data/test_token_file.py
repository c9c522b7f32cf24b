"""What was written is read: rows where they lie, conversations one by one, faults in place."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from tests.data.tiny import talk, tokenizer_of, tokens_of
from tunesmith.data import token_store as token_file
from tunesmith.data.faults import Fault
from tunesmith.data.read import Layout
from tunesmith.data.rows import Message, ToolCall, behind_source, in_source, restored, stored
from tunesmith.data.template import ROWS, Rendering
from tunesmith.data.token_store import ConversationSubset, TokenWriter, open_tokens
from tunesmith.data.tokenize import ChunkTokenizer, Recipe

CHATML = tokenizer_of("chatml")
LAYOUT = Layout("", "chat", {}, "because")


def conversations(count=30):
    rows = [talk(f"question {n} " * (n % 5), "answer " * (n % 3 + 1), line=n) for n in range(count)]
    return [
        dataclasses.replace(row, file="" if n % 2 else "/b.jsonl") for n, row in enumerate(rows)
    ]


def written(rows, *, chunk=7, faults=(), rendering=ROWS):
    """The two files in memory, and what is known of them."""
    sinks = pa.BufferOutputStream(), pa.BufferOutputStream()
    writer = TokenWriter(*sinks)
    writer.add(faults)
    tokeniser = ChunkTokenizer(Recipe(CHATML, 500, rendering))
    for start in range(0, len(rows), chunk):
        writer.write(tokeniser.conversations(rows[start : start + chunk]))
    contents = writer.close(LAYOUT)
    return [pa.BufferReader(sink.getvalue()) for sink in sinks], contents


@pytest.mark.parametrize("tokens_at_once", [1, 200, 10**9])
def test_rows_and_conversations_are_those_that_were_written(tokens_at_once, monkeypatch):
    monkeypatch.setattr(token_file, "TOKENS_AT_ONCE", tokens_at_once)
    rows = conversations()
    files, contents = written(rows)
    found = open_tokens(*files, contents, source="data/a")
    whole = ChunkTokenizer(Recipe(CHATML, 500)).conversations(rows)
    assert tokens_of(found.rows)[0] == whole.block.ids.tolist()
    at = {"": "data/a", "/b.jsonl": "data/a/b.jsonl"}
    for i, row in enumerate(rows):
        assert (found.rows[i].file, found.rows[i].line) == (at[row.file], row.line)
        assert found.conversations[i] == dataclasses.replace(row, file=at[row.file])
    assert list(found.conversations) == [found.conversations[i] for i in range(30)]
    assert found.rows.owners.tolist() == list(range(30))
    assert sum(contents.conversations) == len(found.conversations) == contents.records == 30
    weights = ChunkTokenizer(Recipe(CHATML, 500)).conversations([rows[3]]).block.weights(0, 500)
    np.testing.assert_array_equal(found.rows[3].weights, weights[: found.rows.lengths[3]])


def test_ids_lie_in_the_file(tmp_path):
    (rows, said), contents = written(conversations())
    (tmp_path / "rows").write_bytes(rows.getvalue() if hasattr(rows, "getvalue") else rows.read())
    before = pa.total_allocated_bytes()
    mapped = pa.memory_map(str(tmp_path / "rows"))
    found = open_tokens(mapped, said, contents, source="x")
    assert pa.total_allocated_bytes() == before
    assert found.rows[0].ids.base is not None
    assert not found.rows[0].ids.flags.writeable


def test_documents_of_one_conversation_have_one_owner():
    rows = [talk("a", "b", "c", "d", line=1), talk("e", "f", line=2)]
    files, contents = written(rows, chunk=1, rendering=Rendering(document="answer"))
    found = open_tokens(*files, contents, source="x")
    assert found.rows.owners.tolist() == [0, 0, 1]
    assert found.rows.lines.tolist() == [1, 1, 2]
    assert contents.records == 2


def test_faults_and_notes_are_in_the_place_where_the_source_is_now():
    bad = dataclasses.replace(talk("q", "a<|im_end|>", line=9), file="/b.jsonl")
    fault = Fault("empty_file", "holds no rows.", "", "", None)
    _, contents = written([*conversations(3), bad], faults=[fault])
    told = contents.at("d/a").faults.listed
    assert [(each.file, each.line) for each in told] == [("d/a", None), ("d/a/b.jsonl", 9)]
    assert (contents.format, contents.reason) == ("chat", "because")


def test_nothing_can_be_written_too():
    files, contents = written([])
    found = open_tokens(*files, contents, source="x")
    assert (len(found.rows), len(found.conversations), contents.records) == (0, 0, 0)


def test_some_of_several_sources_are_numbered_through_all():
    one, two = (
        open_tokens(*files, c, source=s).conversations
        for (files, c), s in ((written(conversations(4)), "a"), (written([]), "b"))
    )
    chosen = ConversationSubset([one, two, one], np.array([0, 3, 4, 7]))
    assert [row.line for row in chosen] == [0, 3, 0, 3]
    assert [row.line for row in chosen[1:3]] == [3, 0]
    assert len(chosen) == 4
    assert chosen[-1] == one[3]


def test_a_conversation_keeps_all_that_it_has():
    call = ToolCall("look", {"at": [1, {"b": None}], "c": "é"}, id="x")
    row = talk("q", "a", system="s", line=7)
    more = Message("assistant", "", 0.5, None, "hm", (call,), None)
    tools = ({"type": "function", "function": {"name": "look", "parameters": {}}},)
    whole = dataclasses.replace(row, messages=(*row.messages, more), tools=tools, completion_from=1)
    assert restored(stored(whole), source="ignored") == dataclasses.replace(
        whole, file="ignored" + whole.file
    )


@pytest.mark.parametrize(
    ("source", "file", "short"),
    [
        ("a/b.jsonl", "a/b.jsonl", ""),
        ("./a", "a/b.jsonl", "/b.jsonl"),
        ("a/", "a/c/b.jsonl", "/c/b.jsonl"),
        ("/x/a", "/x/a/b.jsonl", "/b.jsonl"),
    ],
)
def test_the_name_of_a_source_can_be_left_out_and_put_back(source, file, short):
    assert behind_source(file, source) == short
    assert in_source(short, source) == file
