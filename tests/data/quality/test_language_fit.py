"""The language of rows is found, and its tokens are compared with those of the base's own."""

import pytest

from tests.data.quality.rows import asked
from tunesmith.data.quality.distribution import language_of
from tunesmith.data.quality.language_fit import (
    MAX_TOKENS_TIMES,
    PartLanguage,
    language_name,
    languages_of,
    length_factor,
    passages,
    token_fit,
)

KOREAN = ("배송은 언제 오나요?", "주문하신 상품은 내일까지 도착할 예정이에요.")
ENGLISH = ("When will my parcel arrive?", "Your parcel will arrive tomorrow morning.")


class Cutting:
    """A tokenizer that makes one token of so many characters, ASCII or other ones."""

    def __init__(self, ascii: float, other: float) -> None:
        self.rates = (1 / ascii, 1 / other)

    def __call__(self, text, **_):
        counts = [sum(self.rates[not letter.isascii()] for letter in each) for each in text]
        return {"input_ids": [[0] * round(count) for count in counts]}


# Indonesian is not told from Malay with certainty.
@pytest.mark.parametrize("language", sorted(set(passages()) - {"id"}))
def test_a_passage_is_in_its_language(language):
    assert language_of(passages()[language]) == language


def test_passages_are_about_as_long_as_xquad_is():
    # characters of XQuAD's 240 paragraphs over those of the English ones
    measured = {"ar": 0.87, "de": 1.14, "es": 1.13, "hi": 0.97, "ru": 1.08, "th": 0.94, "vi": 1.02}
    for language, factor in (measured | {"zh": 0.32, "tr": 1.0}).items():
        assert length_factor(language) == pytest.approx(factor, rel=0.16)
    assert length_factor("sw") == 1.0


def test_each_part_has_its_own_language():
    rows = asked(*[(ENGLISH[0], KOREAN[1])] * 12)
    assert {each.part: each.language for each in languages_of(rows)} == {
        "questions": "en",
        "answers": "ko",
    }


@pytest.mark.parametrize(
    "answer", ["card_arrival", "긍정", '{"의도": "환불", "상품": "의자"}', "7"]
)
def test_what_is_no_prose_has_no_language(answer):
    found = languages_of(asked(*[(KOREAN[0], answer)] * 12))
    assert [each.part for each in found] == ["questions"]


def test_a_few_rows_in_another_language_do_not_decide():
    rows = asked(*[ENGLISH] * 40, *[KOREAN] * 10)
    assert {each.language for each in languages_of(rows)} == {"en"}


def test_the_same_content_in_as_many_tokens_is_one_time():
    text = passages()["ko"]
    fit = token_fit(PartLanguage("answers", "ko", (text,)), Cutting(ascii=4, other=1.6))
    assert fit.own == "en"
    assert fit.times == pytest.approx(1, rel=0.1)


def test_bytes_for_letters_are_found():
    fit = token_fit(PartLanguage("answers", "ko", (passages()["ko"],)), Cutting(4, 1 / 2))
    assert fit.times > 2.5


def test_a_base_of_another_language_is_compared_with_that():
    fit = token_fit(PartLanguage("answers", "en", (passages()["en"],)), Cutting(0.5, 2))
    assert fit.own != "en"
    assert fit.times > MAX_TOKENS_TIMES


def test_languages_have_names():
    assert language_name("ko") == "Korean"
    assert language_name("xx") == "`xx`"
    assert all("`" not in language_name(each) for each in passages())
