import pytest

from tests.data.quality.rows import asked, sample
from tunesmith.data.quality.distribution import (
    Sample,
    language_of,
    languages_of,
    mixed_languages,
)
from tunesmith.data.quality.text import see
from tunesmith.data.rows import Conversation, Message

ENGLISH = "Thank you for your patience, your parcel will be there in the next few days."
GERMAN = "Vielen Dank für Ihre Geduld, Ihr Paket wird in den nächsten Tagen bei Ihnen sein."
KOREAN = "기다려 주셔서 감사합니다. 며칠 안에 도착할 예정이에요."


def told(rows):
    some = Sample()
    for row in rows:
        some.observe(see(row))
    return [(finding.message, finding.rows.tolist()) for finding in mixed_languages(some)]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        (KOREAN, "ko"),
        ("감사합니다, 좋은 하루요", "ko"),
        ("ok", None),
        ("You’re welcome! 😊", None),  # one sign makes a short text none in other letters
        ("Lasagne, Risotto, Panna Cotta, Tiramisu, Espresso", None),  # could be any menu
        ('{"antwort": "Vielen Dank für Ihre Geduld, Ihr Paket wird da sein"}', None),
        ("", None),
    ],
)
def test_a_language_is_told_where_it_can_be(text, language):
    assert language_of(text) == language


def test_answers_in_another_language_are_told():
    rows = asked(*[("q", ENGLISH)] * 20, ("q", GERMAN), ("q", KOREAN), ("q", KOREAN), ("q", GERMAN))
    ((message, found),) = told(rows)
    assert found == [20, 21, 22, 23]
    assert "answers" in message
    assert "en 20" in message


def test_a_question_may_be_in_another_language_than_its_answer():
    assert told(asked(*[(KOREAN, ENGLISH)] * 10)) == []


def test_a_single_row_is_no_mixture():
    assert told(asked(*[("q", ENGLISH)] * 20, ("q", GERMAN))) == []


def test_real_rows_of_one_language_are_not_told():
    rows = [row for name in ("clinc150", "banking77") for row in sample(f"{name}/train.jsonl")]
    assert told([*rows, *sample("arc_easy/probe.jsonl")]) == []


def talk(question, answer):
    return Conversation((Message("user", question), Message("assistant", answer)))


def test_languages_of_rows_are_counted_by_the_answer_or_else_by_the_question():
    english = "How many days of leave does an employee have in a year?"
    rows = [
        talk(english, "연차는 일 년에 서른 날이고 다음 해로 넘길 수 없습니다."),
        talk(english, '{"days": 30}'),
        talk(english, "Thirty days in every year, and none of them is kept for the next."),
        talk("say 1", "it is 7"),
    ]
    assert languages_of(rows) == {"en": 2, "ko": 1}
