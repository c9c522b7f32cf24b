"""Other wordings: they differ, and what is asked stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluate.consistency.paraphrases import RULES, is_korean, paraphrases

ENGLISH = "Book a table for Kim at Mario's"
KOREAN = "내일 서울 날씨 알려 줘?"


@given(st.text(max_size=40))
def test_all_differ_from_the_text_and_from_each_other(text):
    found = paraphrases(text, most=5)
    assert len({text, *found}) == len(found) + bool(text.strip() or not found)
    assert all(each.strip() for each in found)


@given(st.text(max_size=40).filter(str.strip), st.integers(0, 5))
def test_never_more_than_asked_for_and_the_first_ones_stay(text, most):
    assert paraphrases(text, most=most) == paraphrases(text, most=5)[:most]


@pytest.mark.parametrize("text", [ENGLISH, KOREAN, 'name[Aromi], food["x"]'])
def test_what_is_asked_stands_in_each_with_its_names_as_they_are(text):
    for each in paraphrases(text, most=5):
        assert bare(fold(text)) in bare(fold(each))
        assert "Kim at Mario's" in each.replace("  ", " ") or text != ENGLISH


def test_english_has_all_rules_and_korean_has_no_case():
    assert len(paraphrases(ENGLISH, most=9)) == len(RULES)
    assert paraphrases(KOREAN, most=9) == (
        f"안녕하세요. 하나 여쭤볼게요. {KOREAN}",
        "내일 서울 날씨 알려 줘",
        " 내일  서울 날씨 알려 줘?\n",
        f"{KOREAN} 감사합니다!",
    )


def test_a_wrapper_speaks_the_language_of_the_question():
    assert is_korean("SmolLM2 모델을 켜 줘")
    assert not is_korean("What does 김치 mean in English")
    assert not is_korean("12 + 30")
    assert paraphrases(ENGLISH, most=1) == (f"Hello, I have a request. {ENGLISH}",)


@pytest.mark.parametrize("text", ["", " \n", "?"])
def test_nothing_to_ask_is_no_error(text):
    assert all(each.strip() for each in paraphrases(text, most=5))
    assert bool(paraphrases(text, most=5)) == bool(text.strip())
