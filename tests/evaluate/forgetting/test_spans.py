"""Texts are cut as lm-eval cuts them: its own rules, written down once more and compared."""

import dataclasses

import pytest

from tests.models.tiny import tiny_tokenizer
from tunesmith.errors import ModelError
from tunesmith.evaluate.forgetting.spans import Reader

TOKENIZER = tiny_tokenizer()
BOS = TOKENIZER.bos_token_id


def ids(text):
    return TOKENIZER.encode(text, add_special_tokens=False)


def windows(tokens, size):
    """lm-eval's get_rolling_token_windows and make_disjoint_window with one token of context."""
    done = min(size, len(tokens))
    found = [([BOS, *tokens[: done - 1]], tokens[:done])] if tokens else []
    while done < len(tokens):
        count = min(len(tokens) - done, size)
        end = done + count
        found.append((tokens[end - size - 1 : end - 1], tokens[end - count : end]))
        done += count
    return [(a[: len(a) - (len(b) - 1)], b) for a, b in found]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12, 13, 40])
def test_windows_of_a_text_are_lm_evals(size):
    text = "hello world!"
    (spans,) = Reader(TOKENIZER, size).texts([text])
    found = [(list(s.ids[: s.scored]), list(s.ids[s.scored :])) for s in spans]
    assert found == windows(ids(text), size)
    assert [token for _, scored in found for token in scored] == ids(text)


def test_each_window_of_each_text_is_a_group_of_its_own():
    texts = ["hello", "a longer text", "x"]
    spans = [span for found in Reader(TOKENIZER, 3).texts(texts) for span in found]
    assert [span.group for span in spans] == list(range(len(spans)))
    assert Reader(TOKENIZER, 3).texts([""]) == [()]


def test_a_choice_is_what_the_whole_text_has_behind_the_context():
    spans = Reader(TOKENIZER, 100).continuations([("hello", [" he", " world"]), ("a", [" b"])])
    assert [span.group for span in spans] == [0, 0, 1]
    for span, context, choice in zip(
        spans, ("hello", "hello", "a"), (" he", " world", " b"), strict=True
    ):
        assert list(span.ids[: span.scored]) == ids(context)
        assert list(span.ids) == ids(context + choice)


def test_white_space_that_ends_a_context_goes_to_its_choices():
    (span,) = Reader(TOKENIZER, 100).continuations([("say \n", ["it"])])
    assert list(span.ids[: span.scored]) == ids("say")
    assert list(span.ids) == ids("say \nit")


def test_a_context_without_text_is_the_token_that_texts_begin_with():
    for context in ("", " \n"):
        (span,) = Reader(TOKENIZER, 100).continuations([(context, ["it"])])
        assert list(span.ids) == [BOS, *ids(context + "it")]
        assert span.scored == 1


def test_what_is_longer_than_the_window_loses_its_beginning():
    context, choice = "one two three", " four"
    whole, scored = ids(context + choice), len(ids(choice))
    for window in (len(whole) - 1, len(whole) - 2, scored + 1, scored, scored - 1):
        (span,) = Reader(TOKENIZER, window).continuations([(context, [choice])])
        assert list(span.ids) == whole[-(window + 1) :]  # as lm-eval's [-(max_length + 1):]
        assert len(span.ids) - span.scored == min(scored, window)
        assert span.cut == len(whole) - window - 1


def test_a_tokenizer_that_begins_every_text_does_so_here():
    class Beginning:
        bos_token_id = 7
        eos_token_id = 2

        def __call__(self, text, *, add_special_tokens, **_):
            begin = [7] if add_special_tokens else []
            return {"input_ids": [begin + [ord(c) for c in one] for one in text]}

    reader = Reader(Beginning(), 50)
    (span,) = reader.continuations([("ab", ["c"])])
    assert (list(span.ids), span.scored) == ([7, 97, 98, 99], 3)
    ((text,),) = reader.texts(["ab"])  # the token stands in front once
    assert list(text.ids) == [7, 97, 98]


def test_without_a_first_token_the_last_one_stands_in_and_without_both_it_is_told():
    other = dataclasses.make_dataclass("Other", ["bos_token_id", "eos_token_id"])
    other.__call__ = lambda self, text, **_: {"input_ids": [[5] for _ in text]}
    ((span,),) = Reader(other(None, 9), 10).texts(["x"])
    assert span.ids == (9, 5)
    with pytest.raises(ModelError, match="no token"):
        Reader(other(None, None), 10)
