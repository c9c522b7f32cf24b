"""Meanings of answers: each text is embedded once, and letters that are not read are refused."""

import numpy as np
import pytest

from tunesmith.evaluate.consistency.agreement import agreement
from tunesmith.evaluate.consistency.meaning import meaning_by


class Letters:
    """A stand-in for an embedding model: counts of a and b, of length 1."""

    def __init__(self):
        self.seen = []

    def embed(self, texts):
        self.seen += texts
        vectors = np.array([[t.count("a"), t.count("b")] for t in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_each_text_is_embedded_once_and_cosines_are_those_of_its_vectors():
    model = Letters()
    meaning = meaning_by(model, ["a", "b", "ab", "a", "aa"], only_latin=False)
    assert sorted(model.seen) == ["a", "aa", "ab", "b"]
    assert meaning("a", "aa") == pytest.approx(1)
    assert meaning("a", "b") == pytest.approx(0)
    assert meaning("a", "ab") == pytest.approx(2**-0.5)


def test_other_letters_are_not_compared_by_a_model_for_english():
    model = Letters()
    meaning = meaning_by(model, ["a", "가나다라"], only_latin=True)
    assert model.seen == ["a"]
    with pytest.raises(ValueError, match="does not read these letters"):
        meaning("a", "가나다라")
    assert agreement(["a", "가나다라"], None, label=str, meaning=meaning).meaning is None


def test_the_mean_is_over_pairs():
    meaning = meaning_by(Letters(), ["a", "b"], only_latin=False)
    assert agreement(["a", "a", "b"], None, label=str, meaning=meaning).meaning == pytest.approx(
        1 / 3
    )
