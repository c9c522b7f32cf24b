"""Rules on the answer's text: exact, regex, beginnings, endings, contents, length, language."""

import copy
import difflib
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from tunesmith.config.checks import (
    ContainsSettings,
    EndsWithSettings,
    LanguageSettings,
    MaxSentencesSettings,
    MaxWordsSettings,
    NotContainsSettings,
    RegexSettings,
    StartsWithSettings,
)
from tunesmith.config.checks_reference import ExactSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
from tunesmith.evaluation.checks.check import (
    CannotScore,
    Case,
    Check,
    Figures,
    composed,
    folded,
    trimmed,
)

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier


def exact_check(_settings: ExactSettings) -> Check:
    """1.0 where answer and reference are the same text after trimming."""
    return Check(
        rule=lambda case: float(trimmed(case.answer) == trimmed(case.wanted)), needs="reference"
    )


def regex_check(settings: RegexSettings) -> Check:
    """1.0 where the pattern is found in the unchanged answer; ^ and $ anchor it."""
    pattern = re.compile(settings.pattern)
    return Check(rule=lambda case: float(pattern.search(case.answer) is not None))


def starts_with_check(settings: StartsWithSettings) -> Check:
    """1.0 where one of the beginnings begins the answer, white space before it set aside."""
    fold = partial(folded, ignore_case=settings.ignore_case)
    beginnings = tuple(composed(t, ignore_case=settings.ignore_case) for t in settings.beginnings)
    return Check(rule=lambda case: float(fold(case.answer).startswith(beginnings)))


PUNCTUATION_AND_SYMBOLS = "PS"
OF_EMOJI = "\ufe0f\u200d\u20e3"  # what makes a symbol an emoji, and joins several to one


def ends_with_check(settings: EndsWithSettings) -> Check:
    """1.0 where nothing but white space, and marks if these are ignored, follows an ending."""
    endings = tuple(map(composed, settings.endings))

    def ends(case: Case) -> float:
        text = trimmed(case.answer)
        return float(any(_ends(text, one, marks=settings.ignore_punctuation) for one in endings))

    return Check(rule=ends)


def _ends(text: str, ending: str, *, marks: bool) -> bool:
    _, found, rest = text.rpartition(ending)
    return bool(found) and (not rest or (marks and all(map(is_mark, rest))))


def is_mark(character: str) -> bool:
    """White space, or of the Unicode categories P (punctuation) and S (symbols), or of an emoji."""
    if character.isspace() or character in OF_EMOJI:
        return True
    return unicodedata.category(character)[0] in PUNCTUATION_AND_SYMBOLS


def contains_check(settings: ContainsSettings) -> Check:
    """1.0 where the answer holds every text as it is written; with `any`, where it holds one."""
    enough = any if settings.any else all
    return Check(rule=lambda case: float(enough(_finds(case.answer, settings))))


def not_contains_check(settings: NotContainsSettings) -> Check:
    """1.0 where no text is found as it is written; an empty answer scores 0."""
    return Check(rule=lambda case: float(not any(_finds(case.answer, settings))))


def _finds(answer: str, settings: ContainsSettings | NotContainsSettings) -> Iterator[bool]:
    """Of each text in turn, whether the answer holds it."""
    whole = folded(answer, ignore_case=settings.ignore_case)
    return (composed(text, ignore_case=settings.ignore_case) in whole for text in settings.texts)


# Han characters and kana: text in them has no spaces between words.
SPACELESS = re.compile(
    "([\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af])"
)


def count_words(text: str) -> int:
    """Pieces between white space that hold a letter or digit; each Han character or kana is one."""
    pieces = SPACELESS.sub(r" \1 ", text).split()
    return sum(any(map(str.isalnum, piece)) for piece in pieces)


def _at_most(limit: int, count: Callable[[str], int], figure: str) -> Check:
    """1.0 where the answer counts no more; the mean count is a figure."""
    return Check(
        rule=lambda case: float(count(case.answer) <= limit),
        aggregate=lambda cases: {figure: sum(count(case.answer) for case in cases) / len(cases)},
    )


def max_words_check(settings: MaxWordsSettings) -> Check:
    """1.0 where the answer has no more words."""
    return _at_most(settings.words, count_words, "mean_words")


def _sentencex() -> ModuleType:
    return require("sentencex", "checks", ConfigError, what="The check `max_sentences`")


def count_sentences(text: str, *, language: str) -> int:
    """Sentences that hold a letter or digit; one ends at its mark or at the end of its line."""
    sentencex = _sentencex()
    return sum(
        any(map(str.isalnum, sentence))
        for line in text.splitlines()
        for sentence in sentencex.segment(language, line)
    )


def max_sentences_check(settings: MaxSentencesSettings) -> Check:
    """1.0 where the answer has no more sentences."""
    _sentencex()  # missed here, before anything is asked
    count = partial(count_sentences, language=settings.language)
    return _at_most(settings.sentences, count, "mean_sentences")


def language_check(settings: LanguageSettings) -> Check:
    """1.0 where the answer is in the language; none where it has no letters to tell by.

    Raises ConfigError for a language that is not known.
    """
    asked = {settings.language, *settings.among}
    identifier = _among(sorted(asked) if settings.among else [], asked)

    def language(case: Case) -> str:
        if not any(map(str.isalpha, case.answer)):
            raise CannotScore("it has no letters, and so no language")
        return str(identifier.classify(case.answer)[0])

    def figures(cases: Sequence[Case]) -> Figures:
        found = Counter(language(case) for case in cases if any(map(str.isalpha, case.answer)))
        return {"languages": dict(found.most_common())}

    return Check(rule=lambda case: float(language(case) == settings.language), aggregate=figures)


def identified(text: str) -> str | None:
    """The likeliest language of all that are known; None for a text without letters."""
    return _all_languages().classify(text)[0] if any(map(str.isalpha, text)) else None


def _among(languages: Sequence[str], asked: set[str]) -> "LanguageIdentifier":
    identifier = copy.copy(_all_languages())
    known = sorted(set(identifier.nb_classes))
    unknown = sorted(asked.difference(known))
    if unknown:
        near = [match for one in unknown for match in difflib.get_close_matches(one, known, 3, 0.4)]
        raise ConfigError(
            f"The language check does not know {', '.join(unknown)}.",
            remedy=f"It takes ISO 639 codes, such as {', '.join(near or ['en', 'ko'])}.",
        )
    if languages:
        identifier.set_languages(languages)
    return identifier


@functools.cache
def _all_languages() -> "LanguageIdentifier":
    """A model of byte n-grams (Lui & Baldwin 2012); it takes about a second to unpack."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
