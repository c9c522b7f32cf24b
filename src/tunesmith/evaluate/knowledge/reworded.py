"""How else may a question for a fact be asked? Rules for English and Korean."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.evaluate.consistency.paraphrases import is_korean

Say = Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Reworded:
    """Another wording; ``turned``: its words stand in another order, not only in a frame."""

    text: str
    turned: bool


_BE = "is|are|was|were"
_WH = "who|whom|what|which|when|where"
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

    Only questions of one line are turned: before them may stand what they are about.
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
