"""language: in which language is the answer written?"""

import copy
import difflib
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from tunesmith.config.checks import LanguageSettings
from tunesmith.errors import ConfigError
from tunesmith.evaluate.checks.protocol import CannotScore, Case, Check, Figures


class Identifier(Protocol):
    """What tells languages apart: py3langid's model of byte n-grams (Lui & Baldwin 2012)."""

    nb_classes: Sequence[str]

    def classify(self, text: str) -> tuple[str, float]:
        """The most likely language, and how likely it is."""
        ...

    def set_languages(self, langs: Sequence[str]) -> None:
        """Choose among these only."""
        ...


def language_check(settings: LanguageSettings) -> Check:
    """1.0 where the answer is in the language; none where it has no letters to tell by.

    Raises ConfigError for a language that is not known.
    """
    asked = {settings.language, *settings.among}
    identifier = _among(sorted(asked) if settings.among else [], asked)

    def language(case: Case) -> str:
        if not any(map(str.isalpha, case.answer)):
            raise CannotScore("it has no letters, and so no language")
        return identifier.classify(case.answer)[0]

    def figures(cases: Sequence[Case]) -> Figures:
        found = Counter(language(case) for case in cases if any(map(str.isalpha, case.answer)))
        return {"languages": dict(found.most_common())}

    return Check(
        name=settings.name or settings.kind,
        rule=lambda case: float(language(case) == settings.language),
        aggregate=figures,
    )


def identified(text: str) -> str | None:
    """The likeliest language of all that are known; None for a text without letters."""
    return _all_languages().classify(text)[0] if any(map(str.isalpha, text)) else None


def _among(languages: Sequence[str], asked: set[str]) -> Identifier:
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
def _all_languages() -> Identifier:
    """The model that the package brings; it takes about a second to unpack."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier: Identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    return identifier
