"""Segments: together the whole text, apart what is trained and what is not."""

from itertools import pairwise

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.data.tiny import ENDS, talk, tokenizer_of
from tunesmith.data.show import segments
from tunesmith.data.template import render


@pytest.mark.parametrize("name", sorted(ENDS))
def test_supervised_segments_are_the_answers_and_all_are_the_text(name):
    tokenizer = tokenizer_of(name)
    row = render(tokenizer, talk("ça va 👍?", "oui 👍", "한국어", "네 🎉"))
    shown = segments(tokenizer, row)
    answers = [text for text, supervised in shown if supervised]
    assert answers == ["oui 👍" + ENDS[name], "네 🎉" + ENDS[name]]
    assert "".join(text for text, _ in shown) == tokenizer.decode(row.ids)
    assert all(a[1] != b[1] for a, b in pairwise(shown))


def test_spaces_survive_in_tokenizers_that_drop_the_first_one():
    vocab = {"▁hi": 0, "▁there": 1, "<unk>": 2, "user:": 3, "▁assistant:": 4}
    vocab |= {token: 5 + i for i, token in enumerate(("▁user:", "▁"))}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + ' ' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template)
    row = render(tokenizer, talk("hi", "there"))
    shown = segments(tokenizer, row)
    assert [text for text, supervised in shown if supervised] == [" there"]
    assert "".join(text for text, _ in shown) == tokenizer.decode(row.ids)
