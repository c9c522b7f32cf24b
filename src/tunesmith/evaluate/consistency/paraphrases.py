"""How else may the same be asked? Rules that change how a question is put, never what it asks."""

import re
from collections.abc import Callable, Iterator

HANGUL = re.compile("[\uac00-\ud7a3]")
LETTER = re.compile(r"[^\W\d_]")
KOREAN_SHARE = 0.3  # Korean texts hold names and terms in Latin letters
MARKS = ".?!。？！"


def is_korean(text: str) -> bool:
    """Whether a good part of the letters is Hangul."""
    letters = LETTER.findall(text)
    return bool(letters) and len(HANGUL.findall(text)) >= KOREAN_SHARE * len(letters)


def asked_politely(text: str) -> str:
    """A polite opening in front."""
    opening = "안녕하세요. 하나 여쭤볼게요." if is_korean(text) else "Hello, I have a request."
    return f"{opening} {text}"


def other_mark(text: str) -> str:
    """Without the mark at its end; a full stop where it has none."""
    bare = text.rstrip()
    return bare.rstrip(MARKS) if bare.endswith(tuple(MARKS)) else f"{bare}."


def other_case(text: str) -> str:
    """Its first letter in the other case: names inside stay what they are."""
    return text[:1].swapcase() + text[1:]


def other_spaces(text: str) -> str:
    """Two spaces in place of the first one, and white space at both ends."""
    return f" {text.replace(' ', '  ', 1)}\n"


def thanked(text: str) -> str:
    """Thanks behind it."""
    return f"{text.rstrip()} {'감사합니다!' if is_korean(text) else 'Thank you!'}"


RULES: tuple[Callable[[str], str], ...] = (
    asked_politely,
    other_mark,
    other_case,
    other_spaces,
    thanked,
)


def paraphrases(text: str, *, most: int) -> tuple[str, ...]:
    """At most ``most`` other ways to put it, all different, in the order of `RULES`.

    Fewer where rules change nothing (case, in Korean). An empty text has none.
    """
    return tuple(_first(text, most)) if text.strip() else ()


def _first(text: str, most: int) -> Iterator[str]:
    seen = {text}
    for rule in RULES:
        if len(seen) > most:
            return
        if (other := rule(text)) not in seen and other.strip():
            seen.add(other)
            yield other
