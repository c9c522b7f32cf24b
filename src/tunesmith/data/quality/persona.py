"""Who do the answers say they are, how politely do they speak, and does the system prompt agree?"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import shorten
from tunesmith.data.faults import Note
from tunesmith.data.rows import Conversation

CODE = "persona"
# A name is that of the persona where so many answers give it, and most that give any.
MIN_ROWS, MOST = 2, 0.6
_NAME = r"([A-Z][\w'’-]*[\w])"
_HANGUL = "가-힣"
_WORDS = rf"(?:[{_HANGUL}A-Za-z0-9]+ ){{0,3}}?"  # `the shop's` before a name
_COPULA = "이에요|예요|에요|입니다|이라고|라고|이랍니다|랍니다|이야|야"
_INTRODUCTIONS = (
    re.compile(rf"\b(?:I am|I['’]m|[Mm]y name is|[Cc]all me|[Mm]y name['’]s) {_NAME}"),
    re.compile(
        rf"(?:저는|제 이름은|내 이름은|안녕하세요[,.!~]*|반갑습니다[,.!~]*) "
        rf"{_WORDS}([{_HANGUL}A-Za-z0-9]{{2,12}}?)(?:{_COPULA})"
    ),
    re.compile(r"(?:私は|私の名前は)([ァ-ヶーA-Za-z一-龠]{2,12}?)(?:です|と申します|といいます)"),
)
_NAMED = (
    re.compile(rf"\b(?:[Nn]amed|[Yy]ou are|[Yy]ou['’]re|[Yy]our name is) {_NAME}"),
    re.compile(
        rf"(?:당신은|너는|당신의 이름은|이름은) "
        rf"{_WORDS}([{_HANGUL}A-Za-z0-9]{{2,12}}?)(?:{_COPULA}|이다|다)"
    ),
    re.compile(r"(?:あなたは|名前は)([ァ-ヶーA-Za-z一-龠]{2,12}?)(?:です|という)"),
)
# What is said of oneself in the same way, and is no name.
_NO_NAMES = {"I", "AI", "An", "The", "Not", "So", "Just", "Here", "OK"}
_NO_NAMES |= {"거", "것", "건", "어디", "무엇", "누구", "언제", "여기", "그것", "사람"}


@dataclass(frozen=True, slots=True)
class PersonaName:
    """The name by which answers call themselves, and in how many of them."""

    name: str
    rows: int


def introduced_name(answers: Sequence[str]) -> PersonaName | None:
    """The one name by which answers introduce themselves; None where there is no such name."""
    found: Counter[str] = Counter()
    for answer in answers:
        names = {match[1] for each in _INTRODUCTIONS for match in each.finditer(answer)}
        found.update(names - _NO_NAMES)
    if not found:
        return None
    name, rows = found.most_common(1)[0]
    agreeing = sum(count for each, count in found.items() if each in name or name in each)
    is_one = rows >= MIN_ROWS and agreeing >= MOST * found.total()
    return PersonaName(name, rows) if is_one else None


def name_in(system: str) -> str | None:
    """The name that a system prompt gives the model: `You are Ada.`, `named Ada`."""
    names = (match[1] for each in _NAMED if (match := each.search(system)))
    return next((name for name in names if name not in _NO_NAMES), None)


@dataclass(frozen=True, slots=True)
class SpeechLevel:
    """A level of politeness that a language shows in how its sentences end."""

    name: str
    endings: tuple[str, ...]


_HAEYO = SpeechLevel("haeyo", ("요", "죠"))
_HAMNIDA = SpeechLevel("hamnida", ("니다", "니까"))
_POLITE = SpeechLevel("polite", (*_HAEYO.endings, *_HAMNIDA.endings))
_DESU = SpeechLevel(
    "polite", ("です", "ます", "でした", "ました", "ません", "でしょう", "ましょう", "ください")
)
# By language, the narrow ones first.
SPEECH_LEVELS: Mapping[str, tuple[SpeechLevel, ...]] = {
    "ko": (_HAEYO, _HAMNIDA, _POLITE),
    "ja": (_DESU,),
}


def persona_notes(rows: Sequence[Conversation], inserted: str | None) -> Iterator[Note]:
    """Reports a system prompt that gives the model another name than its answers do.

    ``inserted`` is what the chat template writes where a row has no system message.
    """
    spoken = [row for row in rows if row.supervised and not row.is_text]
    answers = [row.messages[row.supervised[-1]].content for row in spoken]
    persona = introduced_name(answers)
    if persona is None:
        return
    prompts = Counter(_system(row, inserted) for row in spoken)
    for prompt, count in prompts.items():
        if prompt is not None and (other := contradiction(persona.name, prompt)):
            own = prompt == inserted
            whose = "the chat template's own system prompt" if own else "the system prompt"
            remedy = "give the persona one of its own, --data.system TEXT" if own else "fix either"
            what = (
                f"{pluralize(persona.rows, 'answer')} say that they are {persona.name}, and "
                f"{whose} says {other} ({shorten(prompt, SHOWN)!r}): {remedy}"
            )
            yield Note(CODE, what, count)


SHOWN = 80  # characters of a prompt


def contradiction(name: str, system: str) -> str | None:
    """The other name that a system prompt gives a model called ``name``; None if it gives none."""
    other = name_in(system)
    is_same = other is None or name in system or other in name
    return None if is_same else other


def _system(row: Conversation, inserted: str | None) -> str | None:
    first = row.messages[0]
    return first.content or None if first.role == "system" else inserted
