"""How does a base read the language of the rows: in how many tokens, beside its own language?

A tokenizer that knows a language cuts the same content into about as many tokens as in English. One
that does not falls back to bytes. The thresholds come from docs/languages.md.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from tunesmith.core import yaml_text
from tunesmith.data.quality.distribution import MIN_OTHER, language_of, parse_json
from tunesmith.data.quality.text import see
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenizer import Tokenizer, encode

MAX_TOKENS_TIMES, MAX_UNNAMED_TIMES = 1.85, 1.4
"""From here on the same content takes too many tokens; the second where the base's publisher names
other languages alone. docs/languages.md has the error rates.
"""
CLEAR_LOSS_TIMES, MAX_LOSS_TIMES = 1.4, 2.0
"""Nats for the same content: below the first the base reads the language, whatever its tokens; from
the second on it does not; between them its tokens decide."""
OWN, FAR_LESS = "en", 0.7
MAX_TEXTS, MAX_CHARACTERS = 400, 500  # texts of a part, characters of each
CHUNK = 300  # characters that are looked at together
MIN_SHARE = 0.5  # of the chunks whose language is known


@dataclass(frozen=True, slots=True)
class PartLanguage:
    """The language (ISO 639) of the rows' ``answers`` or ``questions``, and texts in it.

    A text holds several rows, one a line.
    """

    part: str
    language: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenFit:
    """Tokens a character of a text and of the base's ``own`` language.

    ``times``: as many tokens as the same content takes in ``own``.
    """

    own: str
    tokens_per_character: float
    own_tokens_per_character: float
    times: float


def language_name(language: str) -> str:
    """The English name of a language, or its code where it has no name here."""
    return _languages()["names"].get(language, f"`{language}`")


def passages() -> Mapping[str, str]:
    """One passage by language, the same content in each."""
    return MappingProxyType(_languages()["passages"])


@functools.cache
def _languages() -> dict[str, dict[str, str]]:
    text = (files(__package__) / "languages.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml_text.read(text)
    return found


def length_factor(language: str) -> float:
    """Characters of a text in this language over those of the same content in English.

    1 where no passage is known: so it is in most alphabets.
    """
    known = passages()
    return len(known[language]) / len(known[OWN]) if language in known else 1.0


def languages_of(rows: Iterable[Conversation]) -> list[PartLanguage]:
    """The main language of the answers and of the questions, each where it is certain."""
    answers, questions = [], []
    for row in rows:
        seen = see(row)
        answers.append(seen.answer)
        if seen.question != seen.answer:
            questions.append(seen.question)
    parts = (("answers", answers), ("questions", questions))
    return [found for part, texts in parts if (found := _main_language(part, texts))]


def _main_language(part: str, texts: Sequence[str]) -> PartLanguage | None:
    """The language that most of the texts are in; None where there is no prose."""
    some = texts[:: max(1, len(texts) // MAX_TEXTS)]
    chunks = [(language, chunk) for chunk in _chunks(some) if (language := language_of(chunk))]
    counts = Counter(language for language, _ in chunks)
    if not counts:
        return None
    language, count = counts.most_common(1)[0]
    if count < MIN_SHARE * len(chunks):
        return None
    return PartLanguage(part, language, tuple(text for name, text in chunks if name == language))


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    """Prose of several texts together, long enough for its language to be recognized."""
    lines: list[str] = []
    for text in texts:
        line = " ".join(text[:MAX_CHARACTERS].split())
        if parse_json(text.strip()) is None and _is_prose(line):
            lines.append(line)
        if sum(map(len, lines)) >= CHUNK:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _is_prose(line: str) -> bool:
    """Whether a text has words, and not one name such as `card_arrival`."""
    return " " in line or (not line.isascii() and len(line) >= MIN_OTHER)


def token_fit(found: PartLanguage, tokenizer: Tokenizer) -> TokenFit:
    """What the tokenizer needs for the texts, beside the language that it needs least for."""
    known = passages()
    counts = dict(zip(known, map(len, encode(tokenizer, list(known.values()))), strict=True))
    least = min(counts, key=counts.__getitem__)
    own = least if counts[least] < FAR_LESS * counts[OWN] else OWN
    tokens = sum(map(len, encode(tokenizer, found.texts)))
    rate, own_rate = tokens / sum(map(len, found.texts)), counts[own] / len(known[own])
    same = length_factor(found.language) / length_factor(own)
    return TokenFit(own, rate, own_rate, same * rate / own_rate)
