"""exact: the same text after trimming, and nothing else."""

import unicodedata

import pytest

from tunesmith.config.checks import ExactSettings
from tunesmith.evaluation.checks.text_rules import exact_check


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("yes", "yes", 1.0),
        ("  yes\n", "yes ", 1.0),
        ("Yes", "yes", 0.0),
        ("yes.", "yes", 0.0),
        ("", "yes", 0.0),
        ("a  b", "a b", 0.0),
        ("", "", 1.0),
    ],
)
def test_only_white_space_around_is_set_aside(answer, reference, score):
    assert exact_check(ExactSettings()).score(answer, reference) == score


def test_two_spellings_of_the_same_syllables_are_the_same_text():
    text = "안녕하세요"
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    assert exact_check(ExactSettings()).score(decomposed, text) == 1.0


def test_a_row_without_reference_is_a_fault_and_scores_zero():
    check = exact_check(ExactSettings())
    assert check.score("yes", None) == 0.0
    assert "no reference" in check.reference_fault(None)
    assert check.reference_fault("") is None
