"""language: the likeliest one, of all or of a few."""

import pytest

from tunesmith.config.checks import LanguageSettings
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import CannotScore, Case
from tunesmith.evaluation.checks.text_rules import language_check

TEXTS = {
    "en": "The weather is lovely today, so we went for a walk in the park.",
    "ko": "오늘은 날씨가 좋아서 공원에 산책하러 갔어요.",
    "de": "Das Wetter ist heute schön, deshalb sind wir im Park spazieren gegangen.",
    "fr": "Il fait beau aujourd'hui, alors nous sommes allés nous promener au parc.",
    "es": "Hace buen tiempo hoy, así que fuimos a pasear por el parque.",
    "ja": "今日は天気がいいので、公園へ散歩に行きました。",
    "ru": "Сегодня хорошая погода, поэтому мы пошли гулять в парк.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_only_the_language_itself_passes(language):
    check = language_check(LanguageSettings(language=language))
    assert {name: check.score(text) for name, text in TEXTS.items()} == {
        name: float(name == language) for name in TEXTS
    }


def test_one_check_among_few_leaves_the_others_free():
    few = language_check(LanguageSettings(language="en", among=("ko",)))
    assert few.score("ok") == 1
    assert few.score("네") == 0
    assert few.score(TEXTS["fr"]) == 1  # nearer to English than to Korean
    assert language_check(LanguageSettings(language="fr")).score(TEXTS["fr"]) == 1


def test_a_text_without_letters_has_no_language():
    with pytest.raises(CannotScore, match="no letters"):
        language_check(LanguageSettings(language="en")).score("42.")


def test_figures_count_what_was_found():
    check = language_check(LanguageSettings(language="en"))
    cases = [Case(TEXTS["en"]), Case(TEXTS["ko"]), Case(TEXTS["en"]), Case("")]
    assert check.aggregate(cases) == {"languages": {"en": 2, "ko": 1}}


def test_an_unknown_language_is_told_with_near_ones():
    with pytest.raises(ConfigError, match=r"does not know kor\..*ISO 639 codes, such as .*ko"):
        language_check(LanguageSettings(language="kor"))
