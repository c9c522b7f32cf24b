"""When are two texts the same for a check: in one Unicode form, answers after trimming."""

import unicodedata

from tunesmith.evaluate.checks.protocol import Case


def composed(text: str, *, ignore_case: bool = False) -> str:
    """The text composed (NFC), its white space kept: one spelling for each 한글 syllable.

    Unicode calls composed and decomposed spellings the same text (UAX #15). Where case is ignored
    it is case-folded (and composed again, as folding can split).
    """
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.casefold()) if ignore_case else text


def trimmed(text: str) -> str:
    """`composed`, without white space around it."""
    return composed(text).strip()


def folded(text: str, *, ignore_case: bool) -> str:
    """`trimmed`, and where case is ignored, case-folded."""
    return composed(text, ignore_case=ignore_case).strip()


def missing_reference(case: Case) -> str | None:
    """The fault of a row that has no reference; None where it has one."""
    return "there is no reference answer to compare with" if case.reference is None else None


def blank_reference(case: Case) -> str | None:
    """The fault of a row whose reference is missing or has no text; None where it has one."""
    if case.reference is not None and not case.reference.strip():
        return "the reference answer is empty"
    return missing_reference(case)
