"""Words that are looked up have the ids that the tokeniser gives, however it splits a text."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from tests.data.tiny import LINES, SPECIAL
from tunesmith.data import tokenizer as word_ids
from tunesmith.data.tokenizer import SPLITS, WordCache, encode, words_of

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
TEXTS = [
    *LINES,
    "it's 12345 o'clock, isn't it? I'LL say 3.14/2=1.57!",
    "a  b   c\n\n d\t e \r\n f\n",
    " leading and trailing ",
    "\u00e9t\u00e9 5\u00b2 \u0661\u0662 x\u00a0y \u3000 z\u2028w",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5 12\uac1c",
    "<s>x<|im_start|> y<|im_end|>\n<|im_end|>",
    "[/turn] a[/turn]b <<1+2=3>>3",
    "",
    " ",
    "\n",
]
"""Every kind of boundary that a word may be cut at, or must not be."""
ALPHABET = "ab Z.,'sS9 08\n\t\r\u00e9\u0301\u00b2\u0661\u00a0\u3000\ud55c-/<|>"
MARKS = st.sampled_from(["<|im_start|>", "<|im_end|>", "[/turn]", "<s>", "'s", "'LL", "  ", " \n"])
STRANGE = st.lists(st.text(ALPHABET, max_size=12) | MARKS, max_size=8).map("".join)


def tokenizer_of(splitter, *, normalizer=None, **added):
    """A small byte-level BPE; its merges come from texts with every boundary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for text in TEXTS if "<|" not in text] * 20, trainer)
    flags = {"special": False, "normalized": False, **added}
    tokenizer.add_tokens([AddedToken("[/turn]", **flags)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior), BYTES])


KNOWN = {
    "gpt2": GPT2,
    "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
    **{f"split {i}": split(pattern) for i, pattern in enumerate(sorted(SPLITS))},
}
TOKENIZERS = {name: tokenizer_of(splitter) for name, splitter in KNOWN.items()}
TOKENIZERS["nfc"] = tokenizer_of(GPT2, normalizer=normalizers.NFC())


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_known_tokeniser_is_looked_up(name):
    assert WordCache(TOKENIZERS[name])._added is not None


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts=st.lists(STRANGE | st.sampled_from(TEXTS), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_ids_are_those_of_the_tokeniser(name, texts):
    cache = WordCache(TOKENIZERS[name])
    cache._unproven = 0  # nothing is compared behind the test's back
    assert encode(cache, texts) == encode(TOKENIZERS[name], texts)
    assert encode(cache, texts[::-1]) == encode(TOKENIZERS[name], texts[::-1])


@given(STRANGE)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_words_are_the_whole_text(text):
    assert "".join(words_of(text)) == text


@pytest.mark.parametrize(
    "tokenizer",
    [
        tokenizer_of(pre_tokenizers.ByteLevel(add_prefix_space=True)),
        tokenizer_of(BYTES),
        tokenizer_of(split(r"\w+|\W+")),
        tokenizer_of(split(r"\s+", "removed")),
        tokenizer_of(pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), GPT2])),
        tokenizer_of(GPT2, normalizer=normalizers.Lowercase()),
        tokenizer_of(GPT2, rstrip=True),
        tokenizer_of(GPT2, lstrip=True),
        tokenizer_of(GPT2, single_word=True),
        tokenizer_of(GPT2, normalized=True),
    ],
    ids=lambda one: json.dumps(json.loads(one.backend_tokenizer.to_str())["pre_tokenizer"])[:50],
)
def test_any_other_tokeniser_is_asked(tokenizer):
    cache = WordCache(tokenizer)
    assert cache._added is None
    assert encode(cache, TEXTS) == encode(tokenizer, TEXTS)


def test_a_tokeniser_that_gives_something_else_is_asked_from_then_on(monkeypatch):
    """Whatever the reason: what is proven on the first texts is believed, nothing else."""
    monkeypatch.setattr(word_ids, "words_of", lambda text: list(text))
    cache = WordCache(TOKENIZERS["gpt2"])
    assert encode(cache, TEXTS) == encode(TOKENIZERS["gpt2"], TEXTS)
    assert cache._added is None


def test_what_is_no_plain_encoding_is_passed_on():
    tokenizer = TOKENIZERS["gpt2"]
    cache = WordCache(tokenizer)
    asked = {"return_offsets_mapping": True, "add_special_tokens": False}
    assert dict(cache(["a b"], **asked)) == dict(tokenizer(["a b"], **asked))
    assert cache.eos_token == "</s>"
    assert pickle.dumps(cache._tokenizer)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(word_ids, "MAX_WORDS", 50)
    cache = WordCache(TOKENIZERS["gpt2"])
    for i in range(40):
        texts = [f"word{i} and{i} {'x' * 500}{i} z{j}" for j in range(9)]
        assert encode(cache, texts) == encode(TOKENIZERS["gpt2"], texts)
        assert len(cache._ids) < 50 + 9 * 7
        assert all(len(word) <= word_ids.MAX_WORD_CHARACTERS for word in cache._ids)
