"""When are two texts the same for a check: after trimming, in one Unicode form."""

import unicodedata


def trimmed(text: str) -> str:
    """The text without white space around it, composed (NFC): one spelling for each 한글 syllable.

    Unicode calls composed and decomposed spellings the same text (UAX #15).
    """
    return unicodedata.normalize("NFC", text).strip()


def missing_reference(reference: str | None) -> str | None:
    """The fault of a row that has no reference; None where it has one."""
    return "there is no reference answer to compare with" if reference is None else None
