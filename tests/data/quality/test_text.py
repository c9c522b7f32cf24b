import pytest

from tests.data.tiny import talk
from tunesmith.data.quality.text import Folded, bare, count_words, digest, fold, letters, see, words


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Hello  There\n", "hello there"),
        ("\u00a0a\tb ", "a b"),
        ("STRASSE", "straße"),
        ("가", "\u1100\u1161"),  # one syllable, composed or not
    ],
)
def test_case_white_space_and_unicode_form_are_folded(a, b):
    assert fold(a) == fold(b)


@pytest.mark.parametrize("text", ["a  b", "a\nb", "a\x0bb", "a\u3000b", " a b ", "a\u2028b"])
def test_any_white_space_is_one_space(text):
    assert fold(text) == "a b"


def test_punctuation_is_left_out_and_signs_of_formulas_are_kept():
    assert bare(fold("What's up, (really)?!")) == "whats up really"
    assert bare(fold("«Bonjour» — ça va… 「はい」。")) == "bonjour ça va はい"
    assert bare(fold("what's up")) == bare(fold("what’s up"))
    assert len({bare(fold(t)) for t in ("c++", "c#", "c", "3 + 4", "3 * 4", "3 / 4")}) == 6


def test_another_number_is_another_text():
    for one, other in (("-3 * 4", "3 * 4"), ("is 1.5 > 1", "is 15 > 1"), ("−7 + 3", "7 + 3")):
        assert letters(bare(fold(one))) != letters(bare(fold(other)))
    assert bare(fold("1,000 won")) == bare(fold("1000 won"))
    assert bare(fold("well-known, 3-4 days")) == "well known 3 4 days"


def test_a_text_of_punctuation_only_stays_itself():
    assert bare(fold("?!")) != bare(fold("..."))
    assert bare(Folded("")) == ""


def test_short_texts_are_equal_however_words_are_joined():
    assert letters(bare(fold("e-mail me"))) == letters(bare(fold("email me")))


def test_scripts_without_spaces_are_counted_by_character():
    assert words(bare(fold("今天天气"))) == ["今", "天", "天", "气"]
    assert words(bare(fold("오늘 날씨 어때?"))) == ["오늘", "날씨", "어때"]
    assert count_words(bare(fold("今天天气ok"))) == 5


def test_the_question_is_all_that_is_not_trained_but_the_system_prompt():
    row = see(talk("a", "b", "c", "d", system="s"))
    assert (row.system, row.question, row.answer) == ("s", "a\nc", "b\nd")


def test_where_nothing_is_asked_the_answer_stands_for_it():
    row = see(talk(" ", "once upon a time"))
    assert row.question == row.answer == "once upon a time"


def test_a_digest_tells_the_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("half \ud83d") != digest("half ")
