"""When are two texts the same for a check: after trimming, in one Unicode form."""

import unicodedata

from tunesmith.evaluate.checks.protocol import Case


def trimmed(text: str) -> str:
    """The text without white space around it, composed (NFC): one spelling for each 한글 syllable.

    Unicode calls composed and decomposed spellings the same text (UAX #15).
    """
    return unicodedata.normalize("NFC", text).strip()


def folded(text: str, *, ignore_case: bool) -> str:
    """`trimmed`, and where case is ignored, case-folded (composed again, as folding can split)."""
    return trimmed(trimmed(text).casefold()) if ignore_case else trimmed(text)


def missing_reference(case: Case) -> str | None:
    """The fault of a row that has no reference; None where it has one."""
    return "there is no reference answer to compare with" if case.reference is None else None


def blank_reference(case: Case) -> str | None:
    """The fault of a row whose reference is missing or has no text; None where it has one."""
    if case.reference is not None and not case.reference.strip():
        return "the reference answer is empty"
    return missing_reference(case)
