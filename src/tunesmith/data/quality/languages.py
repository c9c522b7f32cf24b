"""Whether questions, or answers, are in several languages."""

import functools
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.sample import Sample

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Below this a detector guesses; a text in letters of its own is told apart sooner.
FEWEST_CHARACTERS, FEWEST_OTHER = 40, 10
SURE = 0.95
LEAST_SHARE = 0.01
LOOKED_AT = 200  # characters


def mixed_languages(sample: Sample) -> Iterator[Finding]:
    """The rows whose answer, or question, is surely in another language than most."""
    rows = sample.rows()
    for part in ("answer", "question"):
        found: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            if language := language_of(getattr(row, part)):
                found[language].append(row.row)
        total = sum(map(len, found.values()))
        common = max(found, key=lambda name: len(found[name]), default="")
        others = {
            name: numbers
            for name, numbers in found.items()
            if name != common and len(numbers) >= max(2, LEAST_SHARE * total)
        }
        if others:
            by_count = sorted(others, key=lambda name: -len(found[name]))
            each = ", ".join(f"{name} {len(found[name]):,}" for name in (common, *by_count))
            rest = np.array(sorted(n for numbers in others.values() for n in numbers))
            what = f"{part}s in another language than most ({each}){sample.told()}"
            yield Finding("languages", what, rest)


def language_of(text: str) -> str | None:
    """The ISO 639 code of the text's language; None where it is too short or no prose."""
    text = text.strip()
    is_latin = text[:LOOKED_AT].isascii()
    if len(text) < (FEWEST_CHARACTERS if is_latin else FEWEST_OTHER) or _is_json(text):
        return None
    language, sure = _identifier().classify(text[:LOOKED_AT])
    return str(language) if sure >= SURE else None


def _is_json(text: str) -> bool:
    if text[0] not in "{[":
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


@functools.cache
def _identifier() -> "LanguageIdentifier":
    """The detector; its model is read once, in about a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
