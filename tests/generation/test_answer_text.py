import random

import pytest

from tests.data.tiny import tokenizer_of
from tunesmith.data.thinking import ThinkingText
from tunesmith.data.tokenizer import decode, encode
from tunesmith.generation.answer_text import StoppingText, TextStream, cut_at_stop

TEXTS = ["hello world", "안녕하세요, 반가워요!", "a 😉b👩‍👩‍👧c", "ñ\n\tß", "", "  two  spaces "]


def pieces(tokenizer, ids):
    stream = TextStream(lambda some: decode(tokenizer, some))
    return [*(stream.add(token) for token in ids), stream.end()]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_are_the_text_and_none_has_half_a_character(text):
    tokenizer = tokenizer_of("chatml")
    (ids,) = encode(tokenizer, [text])
    told = pieces(tokenizer, ids)
    assert "".join(told) == text
    assert not any("\ufffd" in piece for piece in told)


def test_a_character_of_many_tokens_comes_with_its_last_one():
    tokenizer = tokenizer_of("chatml")
    (ids,) = encode(tokenizer, ["요"])
    assert len(ids) == 3
    assert pieces(tokenizer, ids) == ["", "", "요", ""]


def test_a_character_that_never_becomes_whole_is_not_shown():
    tokenizer = tokenizer_of("chatml")
    (ids,) = encode(tokenizer, ["ok 요"])
    assert "".join(pieces(tokenizer, ids[:-1])) == "ok "


def test_any_tokens_give_what_decoding_all_of_them_gives():
    tokenizer = tokenizer_of("chatml")
    rng = random.Random(0)
    for _ in range(200):
        ids = [rng.randrange(len(tokenizer)) for _ in range(20)]
        whole = decode(tokenizer, ids)
        assert "".join(pieces(tokenizer, ids)) == whole.rstrip("\ufffd")


def test_spaces_between_words_stay_where_a_tokenizer_drops_the_first():
    words = {0: "▁the", 1: "▁fox", 2: "es"}

    def sentencepiece(ids):
        return "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")

    stream = TextStream(sentencepiece)
    assert [stream.add(i) for i in (0, 1, 2, 0)] == ["the", " fox", "es", " the"]


def stopping(text, stop, size=1):
    """Pieces of a text that is made ``size`` characters at a time."""
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    stream = StoppingText(lambda ids: "".join(parts[i] for i in ids), stop)
    found = []
    for i in range(len(parts)):
        found.append(stream.add(i))
        if stream.stopped:
            break
    return [*found, stream.end()]


@pytest.mark.parametrize("size", [1, 3, 40])
def test_a_stop_text_is_looked_for_behind_the_thinking(size):
    text = "<think>\nso\nit is\n</think>\n\none\ntwo"
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    stream = StoppingText(lambda ids: "".join(parts[i] for i in ids), ["\n"], ThinkingText())
    said, thought = "", ""
    for i in range(len(parts)):
        said += stream.add(i)
        thought += stream.thought
        if stream.stopped:
            break
    assert stream.stopped
    assert (thought, said + stream.end()) == ("so\nit is", "one")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("stop", [["ab"], ["abc", "c"], ["aab"], ["x"], [""]])
def test_a_text_ends_before_a_stop_text_however_it_is_cut(stop, size):
    rng = random.Random(3)
    for _ in range(40):
        text = "hello " + "".join(rng.choice("abc") for _ in range(rng.randrange(9)))
        real = [each for each in stop if each]
        pieces = stopping(text, stop, size)
        assert "".join(pieces) == cut_at_stop(text, real)[: len(text)]


def test_what_cannot_be_a_stop_text_is_not_held_back():
    assert stopping("abxab", ["aby"]) == ["", "", "abx", "", "", "ab"]
    assert stopping("one", []) == ["o", "n", "e", ""]
