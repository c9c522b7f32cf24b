"""ends_with: does the answer end with one of the given endings?"""

import unicodedata
from dataclasses import dataclass

from tunesmith.config.checks import EndsWithSettings
from tunesmith.evaluate.checks.text import trimmed

PUNCTUATION_AND_SYMBOLS = "PS"


@dataclass(frozen=True, slots=True)
class EndsWithCheck:
    """1.0 where nothing but white space, and marks if these are ignored, follows an ending."""

    name: str
    endings: tuple[str, ...]
    ignore_punctuation: bool

    def score(self, answer: str, reference: str | None) -> float:  # noqa: ARG002 (protocol)
        """1.0 where one of the endings ends the answer, else 0.0."""
        text = trimmed(answer)
        return float(any(self._ends(text, ending) for ending in self.endings))

    def reference_fault(self, reference: str | None) -> str | None:  # noqa: ARG002 (protocol)
        """None: no reference is needed."""
        return None

    def _ends(self, text: str, ending: str) -> bool:
        _, found, rest = text.rpartition(ending)
        return bool(found) and (not rest or (self.ignore_punctuation and all(map(_is_mark, rest))))


def _is_mark(character: str) -> bool:
    """White space, or of the Unicode categories P (punctuation) and S (symbols, so emoji too)."""
    return character.isspace() or unicodedata.category(character)[0] in PUNCTUATION_AND_SYMBOLS


def ends_with_check(settings: EndsWithSettings) -> EndsWithCheck:
    """The check that these settings describe."""
    return EndsWithCheck(
        settings.name or settings.kind,
        endings=tuple(map(trimmed, settings.endings)),
        ignore_punctuation=settings.ignore_punctuation,
    )
