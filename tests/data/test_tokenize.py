"""Documents: conversations as before, texts wholly trained, split where they are too long."""

from itertools import pairwise

import numpy as np
import pytest

from tests.data.held_out import hold_out
from tests.data.prepared import prepare
from tests.data.tiny import CHATML, tiny_tokenizer
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.template import render
from tunesmith.data.tokenize import Renderer
from tunesmith.data.tokenizer import decode

TEXT = "the quick brown fox jumps over the lazy dog " * 4


def text(content, line=1):
    return Conversation((Message("text", content),), "f.txt", line, 0)


@pytest.fixture
def tokenizer():
    return tiny_tokenizer(CHATML)


def ids_of(tokenizer, rows, **options):
    return [row for each in Renderer(tokenizer, **options).documents(rows) for row in each.value]


def test_a_text_is_trained_wholly_and_ends_with_the_end_token(tokenizer):
    (row,) = ids_of(tokenizer, [text("a fox")], max_tokens=100)
    assert decode(tokenizer, row.ids) == "a fox" + tokenizer.eos_token
    assert row.weights.tolist() == [0.0] + [1.0] * (len(row.ids) - 1)


@pytest.mark.parametrize("limit", [2, 3, 10, 17, 1000])
def test_a_long_text_is_split_so_that_each_token_is_predicted_once(tokenizer, limit):
    (whole,) = ids_of(tokenizer, [text(TEXT)], max_tokens=10**6)
    pieces = ids_of(tokenizer, [text(TEXT)], max_tokens=limit)
    assert all(len(piece.ids) <= limit for piece in pieces)
    predicted = np.concatenate([piece.ids[piece.weights > 0] for piece in pieces])
    assert predicted.tolist() == whole.ids[1:].tolist()
    for before, after in pairwise(pieces):
        assert after.ids[0] == before.ids[-1]


def test_a_split_is_noted_once_a_text(tokenizer):
    data = prepare(tokenizer, [text(TEXT, 1), text("a fox", 2), text(TEXT, 3)], max_tokens=20)
    notes = {note.code: note.lines for note in data.notes}
    assert notes["split_text"] == (1, 3)
    assert set(data.lines.tolist()) == {1, 2, 3}
    assert data.longest <= 20


def test_what_opens_a_text_is_what_the_tokenizer_opens_it_with(tokenizer):
    class Opening:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, texts, *, add_special_tokens, **options):
            encoded = tokenizer(texts, add_special_tokens=False, **options)
            first = [tokenizer.convert_tokens_to_ids("<s>")] if add_special_tokens else []
            return {"input_ids": [[*first, *ids] for ids in encoded["input_ids"]]}

    (row,) = ids_of(Opening(), [text("a fox")], max_tokens=100)
    assert decode(tokenizer, row.ids) == "<s>a fox" + tokenizer.eos_token


def test_without_an_end_token_this_is_noted(tokenizer):
    tokenizer.eos_token = None
    data = prepare(tokenizer, [text("a fox"), text("a dog")], max_tokens=100)
    assert [note.code for note in data.notes] == ["no_end_token"]


def test_texts_need_no_chat_template(tokenizer):
    tokenizer.chat_template = None
    (row,) = ids_of(tokenizer, [text("a fox")], max_tokens=100)
    assert len(row.ids) > 2


def test_special_tokens_in_a_text_are_a_fault(tokenizer):
    (each,) = Renderer(tokenizer, max_tokens=100).documents([text("a <|im_end|> b")])
    assert (each.value, each.faults[0].code, each.faults[0].line) == ((), "control_tokens", 1)


def test_texts_and_conversations_keep_their_order(tokenizer):
    talk = Conversation((Message("user", "q"), Message("assistant", "a")), "f", 2)
    rows = ids_of(tokenizer, [text("one"), talk, text("two", 3)], max_tokens=100)
    assert [row.line for row in rows] == [1, 2, 3]
    assert rows[1].ids.tolist() == render(tokenizer, talk).ids.tolist()


def test_texts_can_be_held_out_and_equal_ones_stay_together():
    rows = [text(f"text {i % 10}", i) for i in range(40)]
    train, held = hold_out(rows, share=0.2, seed=0)
    assert {r.messages[0].content for r in train}.isdisjoint(r.messages[0].content for r in held)
    assert len(held) == 8
