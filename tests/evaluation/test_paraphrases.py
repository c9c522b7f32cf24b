"""Other wordings: they differ, and what is asked stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluation.paraphrases import RULES, is_korean, paraphrases, reworded

ENGLISH = "Book a table for Kim at Mario's"
KOREAN = "내일 서울 날씨 알려 줘?"


@given(st.text(max_size=40))
def test_all_differ_from_the_text_and_from_each_other(text):
    found = paraphrases(text, limit=5)
    assert len({text, *found}) == len(found) + bool(text.strip() or not found)
    assert all(each.strip() for each in found)


@given(st.text(max_size=40).filter(str.strip), st.integers(0, 5))
def test_never_more_than_asked_for_and_the_first_ones_stay(text, limit):
    assert paraphrases(text, limit=limit) == paraphrases(text, limit=5)[:limit]


@pytest.mark.parametrize("text", [ENGLISH, KOREAN, 'name[Aromi], food["x"]'])
def test_what_is_asked_stands_in_each_with_its_names_as_they_are(text):
    for each in paraphrases(text, limit=5):
        assert bare(fold(text)) in bare(fold(each))
        assert "Kim at Mario's" in each.replace("  ", " ") or text != ENGLISH


def test_english_has_all_rules_and_korean_has_no_case():
    assert len(paraphrases(ENGLISH, limit=9)) == len(RULES)
    assert paraphrases(KOREAN, limit=9) == (
        f"안녕하세요. 하나 여쭤볼게요. {KOREAN}",
        "내일 서울 날씨 알려 줘",
        " 내일  서울 날씨 알려 줘?\n",
        f"{KOREAN} 감사합니다!",
    )


def test_a_wrapper_speaks_the_language_of_the_question():
    assert is_korean("SmolLM2 모델을 켜 줘")
    assert not is_korean("What does 김치 mean in English")
    assert not is_korean("12 + 30")
    assert paraphrases(ENGLISH, limit=1) == (f"Hello, I have a request. {ENGLISH}",)


@pytest.mark.parametrize("text", ["", " \n", "?"])
def test_nothing_to_ask_is_no_error(text):
    assert all(each.strip() for each in paraphrases(text, limit=5))
    assert bool(paraphrases(text, limit=5)) == bool(text.strip())


TURNED = [
    ("What is the capital of Zorb?", "Think of Zorb. Tell me the capital of it."),
    ("Who was the founder of Old Lebeath?", "Think of Old Lebeath. Tell me the founder of it."),
    ("When was the bridge of Pojen built?", "The bridge of Pojen built: when was that?"),
    ("Where is Mount Zeap?", "Mount Zeap: where is that?"),
    (
        "When did Zorb join the league?",
        "About this I only want to know when: Zorb join the league.",
    ),
    ("who wrote the book Plim", "Do you know who wrote the book Plim? Tell me."),
    ("How many metres high is Mount Zeap?", "Tell me how many metres high is Mount Zeap."),
    ("조르브의 수도는 어디인가요?", "수도 말인데, 조르브의 경우에는 어디인지 알려 주세요."),
    ("플림을 만든 사람은 누구입니까?", "누구인지 궁금해요. 플림을 만든 사람 말이에요."),
]


@pytest.mark.parametrize(("question", "wanted"), TURNED)
def test_rules_turn_a_question_round(question, wanted):
    found = reworded(question)
    assert found.text == wanted
    assert found.turned


@pytest.mark.parametrize(
    "question",
    ["Zorb", "Capital of Zorb:", "Some text.\nWhat is the capital of Zorb?", "수도 이름을 대라"],
)
def test_what_no_rule_fits_stands_in_a_frame(question):
    found = reworded(question)
    assert not found.turned
    assert question in found.text


@pytest.mark.parametrize("question", [q for q, _ in TURNED] + ["Zorb", "수도 이름을 대라"])
def test_it_is_another_text_and_names_stay_in(question):
    found = reworded(question).text
    assert bare(fold(found)) != bare(fold(question))
    for name in ("Zorb", "Lebeath", "Pojen", "Zeap", "Plim", "조르브", "플림"):
        assert (name in found) == (name in question)
