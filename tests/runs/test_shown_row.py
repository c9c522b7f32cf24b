"""Shown rows: their pieces are the whole text, apart what is trained, read and cut off."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.data.tiny import ENDS, talk, tokenizer_of
from tunesmith.data.template import render
from tunesmith.runs.show_data import ShownRow, shown, token_texts

CHATML = tokenizer_of("chatml")


def pieces(row, **options):
    return [(p.text, p.supervised, p.is_cut) for p in row.pieces(**options)]


@pytest.mark.parametrize("name", sorted(ENDS))
def test_supervised_spans_are_the_answers_and_all_are_the_text(name):
    tokenizer = tokenizer_of(name)
    row = render(tokenizer, talk("ça va 👍?", "oui 👍", "한국어", "네 🎉"))
    seen = shown(tokenizer, row, limit=1000)
    answers = [seen.text[start:stop] for start, stop, trained in seen.spans if trained]
    assert answers == ["oui 👍" + ENDS[name], "네 🎉" + ENDS[name]]
    assert seen.text == tokenizer.decode(row.ids)
    assert all(a[2] != b[2] and a[1] == b[0] for a, b in pairwise(seen.spans))
    assert (seen.spans[0][0], seen.spans[-1][1]) == (0, len(seen.text))
    assert (seen.tokens, seen.cut) == (len(row.ids), None)
    assert seen.supervised_tokens == np.count_nonzero(row.weights)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_texts_of_tokens_are_the_whole_text(text):
    (ids,) = CHATML([text], add_special_tokens=False)["input_ids"]
    texts = token_texts(CHATML, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == text


@given(
    text=st.text(st.sampled_from("a \N{REPLACEMENT CHARACTER}👍한é"), min_size=1, max_size=200),
    run=st.integers(0, 60),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_signs_of_broken_characters_may_be_in_the_text_itself(text, run):
    text = text + "\N{REPLACEMENT CHARACTER}" * run + text
    (ids,) = CHATML([text], add_special_tokens=False)["input_ids"]
    assert "".join(token_texts(CHATML, ids)) == text


def test_a_row_is_shown_in_linear_time():
    (ids,) = CHATML(["\N{REPLACEMENT CHARACTER}" * 10_000], add_special_tokens=False)["input_ids"]
    start = time.process_time()
    texts = token_texts(CHATML, ids)
    assert time.process_time() - start < 20
    assert "".join(texts) == "\N{REPLACEMENT CHARACTER}" * 10_000
    row = ShownRow("f", 1, tuple("ab" * 50_000), (True, False) * 50_000, 60_000)
    start = time.process_time()
    assert sum(1 for _ in row.pieces(by_token=True)) == 100_000
    assert time.process_time() - start < 5


def test_spaces_survive_in_tokenizers_that_drop_the_first_one():
    vocab = {"▁hi": 0, "▁there": 1, "<unk>": 2, "user:": 3, "▁assistant:": 4}
    vocab |= {token: 5 + i for i, token in enumerate(("▁user:", "▁", "</s>"))}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '</s>' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, chat_template=template, eos_token="</s>"
    )
    row = render(tokenizer, talk("hi", "there"))
    seen = shown(tokenizer, row, limit=1000)
    assert [seen.text[a:b] for a, b, trained in seen.spans if trained] == [" there</s>"]
    assert seen.text == tokenizer.decode(row.ids)
    long = tokenizer(["hi there " * 50], add_special_tokens=False)["input_ids"][0]
    assert "".join(token_texts(tokenizer, long)) == tokenizer.decode(long)


def test_the_cut_stands_behind_the_last_token_that_is_kept():
    row = render(CHATML, talk("q", "one two three"))
    start = int(np.flatnonzero(row.weights)[0])
    for limit in (start - 2, start, start + 3):
        seen = shown(CHATML, row, limit=limit)
        assert seen.text[: seen.cut] == CHATML.decode(row.ids[:limit])
        kept = "".join(text for text, _, is_cut in pieces(seen) if not is_cut)
        assert kept == seen.text[: seen.cut]
        assert "".join(text for text, _, _ in pieces(seen)) == seen.text
        trained = "".join(text for text, supervised, _ in pieces(seen) if supervised)
        assert trained == "one two three<|im_end|>"


def test_pieces_by_token_are_the_tokens_and_keep_their_kind():
    row = render(CHATML, talk("한 👍", "네 👍"))
    seen = shown(CHATML, row, limit=len(row.ids) - 4)
    by_token = pieces(seen, by_token=True)
    assert [text for text, _, _ in by_token] == [text for text in seen.texts if text]
    whole = {i: p[1:] for i, p in enumerate(spread(pieces(seen)))}
    assert whole == {i: p[1:] for i, p in enumerate(spread(by_token))}


def spread(some):
    """Each character with what its piece is."""
    return [(char, *kind) for text, *kind in some for char in text]


def test_a_row_without_text_has_no_pieces():
    assert list(ShownRow("f", 1, ("", ""), (False, True), 5).pieces(by_token=True)) == []
