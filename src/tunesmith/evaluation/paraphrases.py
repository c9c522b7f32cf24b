"""Other wordings of a question, by rules for English and Korean or from a user's file."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.quality.text import fold
from tunesmith.evaluation.given_rows import WordingRow, read_given

HANGUL = re.compile("[\uac00-\ud7a3]")
LETTER = re.compile(r"[^\W\d_]")
KOREAN_SHARE = 0.3  # Korean texts hold names and terms in Latin letters
MARKS = ".?!。？！"


def is_korean(text: str) -> bool:
    """Whether a good part of the letters is Hangul."""
    letters = LETTER.findall(text)
    return bool(letters) and len(HANGUL.findall(text)) >= KOREAN_SHARE * len(letters)


def asked_politely(text: str) -> str:
    """A polite opening before it."""
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
    """Thanks after it."""
    return f"{text.rstrip()} {'감사합니다!' if is_korean(text) else 'Thank you!'}"


RULES: tuple[Callable[[str], str], ...] = (
    asked_politely,
    other_mark,
    other_case,
    other_spaces,
    thanked,
)


def paraphrases(text: str, *, limit: int) -> tuple[str, ...]:
    """At most ``limit`` other wordings, all different, in the order of `RULES`.

    Fewer where rules change nothing (case, in Korean). An empty text has none.
    """
    made = dict.fromkeys(rule(text) for rule in RULES) if text.strip() else {}
    return tuple(other for other in made if other != text and other.strip())[:limit]


@dataclass(frozen=True, slots=True)
class Reworded:
    """Another wording; ``turned``: its words are in another order, not only in a frame."""

    text: str
    turned: bool


_BE = "is|are|was|were"
# A question's parts in other places: what is known comes first, then what is asked for.
_ENGLISH: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(rf"(?:what|who) ({_BE}) (?:the |an? )?(.+?) (of|in|for) (.+?)\??$", re.I),
        r"Think of \4. Tell me the \2 \3 it.",
    ),
    (re.compile(rf"(who|what|which|when|where) ({_BE}) (.+?)\??$", re.I), r"\3: \1 \2 that?"),
    (
        re.compile(r"(when|where|how|why) (did|do|does) (.+?)\??$", re.I),
        r"About this I only want to know \1: \3.",
    ),
    (re.compile(r"(who|what|which) (.+?)\??$", re.I), r"Do you know \1 \2? Tell me."),
    (re.compile(r"(how (?:many|much|long|old|far)) (.+?)\??$", re.I), r"Tell me \1 \2."),
)
_KOREAN: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(\S+?)의 (.+?)(?:은|는|이|가) (누구|무엇|뭐|어디|언제|몇 \S+)\S*[?.]?$"),
        r"\2 말인데, \1의 경우에는 \3인지 알려 주세요.",
    ),
    (
        re.compile(r"(.+?)(?:은|는|이|가) (누구|무엇|뭐|어디|언제)\S*[?.]?$"),
        r"\2인지 궁금해요. \1 말이에요.",
    ),
)


def reworded(question: str) -> Reworded:
    """The same question by the first rule that fits, else in a frame of other words.

    Only questions of one line are turned: what they are about may come before them.
    """
    text = question.strip()
    korean = is_korean(text)
    if "\n" not in text:
        for pattern, shape in _KOREAN if korean else _ENGLISH:
            if found := pattern.fullmatch(text[:1].lower() + text[1:]):
                said = found.expand(shape)
                return Reworded(said[:1].upper() + said[1:], turned=True)
    frame = f"{text} 아는 대로 말해 주세요." if korean else f"I would like to know this. {text}"
    return Reworded(frame, turned=False)


def read_wordings(path: Path) -> dict[str, tuple[str, ...]]:
    """Folded question -> other wordings of it; raises FaultyData with every fault.

    A question of two rows has the wordings of both.
    """
    found: dict[str, tuple[str, ...]] = {}
    for row in read_given(path, WordingRow):
        key = fold(row.query)
        found[key] = (*found.get(key, ()), *row.paraphrases)
    return found
