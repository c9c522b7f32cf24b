"""Training answers word by word: what the data repeats itself is no sign."""

import pytest

from tunesmith.evaluate.overtuning.verbatim import verbatim_of

LONG = [f"this is the long answer number {i}" for i in range(40)]


def test_copied_answers_are_seen_beyond_what_the_data_repeats():
    own = [f"another held out answer to {i} here" for i in range(40)]
    found = verbatim_of(LONG, own, LONG, seed=0)
    assert (found.tuned.mean, found.own.mean) == (1, 0)
    assert found.excess.low > 0.8


def test_data_that_repeats_itself_has_no_excess():
    found = verbatim_of(LONG, LONG, LONG, seed=0)
    assert (found.tuned.mean, found.own.mean, found.excess.mean) == (1, 1, 0)


def test_labels_and_set_phrases_do_not_count():
    assert verbatim_of(["yes"] * 9, ["no"] * 9, ["yes", "no"], seed=0) is None
    phrase = "thank you very much for asking me"
    found = verbatim_of([phrase] * 9, LONG[:9], [phrase, phrase], seed=0)
    assert found.tuned.mean == 0


def test_case_and_punctuation_do_not_matter():
    found = verbatim_of([LONG[0].upper() + "!"], [LONG[1]], LONG, seed=0)
    assert found.tuned.mean == found.own.mean == 1


def test_sides_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        verbatim_of(LONG, LONG[:3], LONG, seed=0)
