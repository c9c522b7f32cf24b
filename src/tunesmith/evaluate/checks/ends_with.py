"""ends_with: does the answer end with one of the given endings?"""

import unicodedata

from tunesmith.config.checks import EndsWithSettings
from tunesmith.evaluate.checks.protocol import Case, Check
from tunesmith.evaluate.checks.text import composed, trimmed

PUNCTUATION_AND_SYMBOLS = "PS"


def ends_with_check(settings: EndsWithSettings) -> Check:
    """1.0 where nothing but white space, and marks if these are ignored, follows an ending."""
    endings = tuple(map(composed, settings.endings))

    def ends(case: Case) -> float:
        text = trimmed(case.answer)
        return float(any(_ends(text, one, marks=settings.ignore_punctuation) for one in endings))

    return Check(name=settings.name or settings.kind, rule=ends)


def _ends(text: str, ending: str, *, marks: bool) -> bool:
    _, found, rest = text.rpartition(ending)
    return bool(found) and (not rest or (marks and all(map(_is_mark, rest))))


def _is_mark(character: str) -> bool:
    """White space, or of the Unicode categories P (punctuation) and S (symbols, so emoji too)."""
    return character.isspace() or unicodedata.category(character)[0] in PUNCTUATION_AND_SYMBOLS
