"""In which language are people addressed, and how is a message said in it?

Messages are English where they are made, in files and in JSON, and are put into the user's language
where they are shown. As with gettext the English text is the key; `{name}` in it is any value,
`{name:text}` one that is a message itself or a list of them, `{name:names}` names of a user's (or
`no columns`), `{n}` (one letter) a number, `{code}` a word, and `(s)` the ending of a plural.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tunesmith.core import yaml_text
from tunesmith.core.errors import UsageError

DEFAULT = "en"
LANGUAGES = (DEFAULT, "ko")  # in which messages can be shown
MESSAGES = "tunesmith.core.messages"
# The first that is set says it, as for any program of a POSIX system.
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_chosen: list[str] = []


def language_of(environment: Mapping[str, str]) -> str:
    """The language that the locale asks for; English where there are no words in that."""
    locale = next((environment[name] for name in VARIABLES if environment.get(name)), "")
    language = re.split(r"[_.@-]", locale)[0].lower()
    return language if language in LANGUAGES else DEFAULT


def current_language() -> str:
    """The language that was chosen, or else the locale's."""
    return _chosen[-1] if _chosen else language_of(os.environ)


def require_language(language: str) -> str:
    """The language; raises UsageError where there are no words in it."""
    if language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise UsageError(f"There are no words in `{language}`.", remedy=f"Take one of: {known}.")
    return language


@contextlib.contextmanager
def speaking(language: str | None) -> Iterator[None]:
    """Address people in this language while it lasts (None: as before).

    Raises UsageError for one without words.
    """
    if language is not None:
        _chosen.append(require_language(language))
    try:
        yield
    finally:
        if language is not None:
            _chosen.pop()


def localized(text: str, language: str | None = None) -> str:
    """A message in a language, the current one unless named: as a whole, else part by part.

    What there are no words for stays as it is.
    """
    language = language or current_language()
    return text if language == DEFAULT else _localized(text, language)


@functools.lru_cache(maxsize=4096)
def _localized(text: str, language: str) -> str:
    plain = text.strip()
    if not plain:
        return text
    catalogue = _catalogue(language)
    kind = _KIND.match(plain)
    found = None if kind else catalogue.translate(plain)
    if found is None:
        pieces = _parts(plain)
        if pieces[1:2] == [BETWEEN_SENTENCES]:
            pieces = _merged(pieces, catalogue)
        found = plain if len(pieces) == 1 else "".join(_localized(p, language) for p in pieces)
    if found == plain:  # a value may be several sentences after all
        found = catalogue.translate(plain, strictly=False) or plain
    start = len(text) - len(text.lstrip())
    return f"{text[:start]}{found}{text[start + len(plain) :]}"


def _parts(text: str) -> list[str]:
    """The lines of a text; of one line its place (`rows.csv:3:`) and the rest, or its sentences."""
    if place := _KIND.match(text) or _LINE.match(text):
        return [place[0], text[place.end() :]]
    for division in (_LINES, _COUNT, _SENTENCES, _PLACE, _HALVES):
        if len(parts := division.split(text)) > 1:
            return parts
    return [text]


def _merged(parts: list[str], catalogue: "_Catalogue") -> list[str]:
    """The sentences and what is between them; several that are one message are one part."""
    merged: list[str] = []
    stop = len(parts)
    while stop > 0:
        runs = (n for n in range(stop - 2) if catalogue.translate("".join(parts[n:stop])))
        start = next(runs, stop - 1)
        merged.insert(0, "".join(parts[start:stop]))
        stop = start
    return merged


_KIND = re.compile(r"(?:note|warning|error): ")
_LINES = re.compile(r"(\n)")
_LINE = re.compile(r"[^\n]*?:\d+(?:, \d+)*(?: \(\+[\d,]+\))?: ")
_PLACE = re.compile(r"^((?:[^\s,:]+, )*\S+: )")  # `rows.csv: `, or runs: `lora, ia3: `
_COUNT = re.compile(r"( \([\d,]+ rows?\)(?: \[\w+\])?)$")  # of what was noticed, and its code
BETWEEN_SENTENCES = " "
_SENTENCES = re.compile(rf"(?<=[.!?])({BETWEEN_SENTENCES})(?=[^\s(])")
_HALVES = re.compile(r"(; | · )(?=\S)")
LONGEST_OF_A_LIST = 6  # blanks in a part
_LISTED = re.compile(r"(, | and | or | \+ )")
_VALUE = re.compile(r"\{(\w+)(?::(text|names))?\}")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An English message and how it is said; ``literals`` are its parts between values."""

    english: str
    literals: tuple[str, ...]
    nested: Mapping[str, str]  # name of a value -> text or names
    said: str

    @property
    def vagueness(self) -> tuple[int, int]:
        """What begins or ends with a value comes last; before it, what says less of its own."""
        ends = self.english.startswith("{") + self.english.endswith("}")
        return ends, -sum(map(len, self.literals))

    @property
    def word(self) -> str:
        """The longest word that every such message has; empty where it has none of its own."""
        words = _WORD.findall(_GAP.sub(_LETTER, self.english))
        return max((word for word in words if _LETTER not in word), key=len, default="")

    def translate(self, text: str, catalogue: "_Catalogue", *, strictly: bool) -> str | None:
        """The message in the language; None where the text is another one."""
        if not all(part in text for part in self.literals):
            return None
        match = _matcher(self.english, strictly).fullmatch(text)
        if match is None:
            return None
        values = match.groupdict()
        for name, kind in self.nested.items():
            said = catalogue.nested if kind == "text" else catalogue.names
            values[name] = said(values[name])
        return with_particles(_VALUE.sub(lambda m: values[m[1]], self.said))


class _Catalogue:
    """All messages of a language; those with values are tried from the least vague on."""

    def __init__(self, language: str, messages: Mapping[str, str]) -> None:
        self._language = language
        self._whole = {
            english: said for english, said in messages.items() if not _has_values(english)
        }
        entries = [_entry(e, said) for e, said in messages.items() if _has_values(e)]
        self._entries = sorted(entries, key=lambda each: each.vagueness)
        self._with_word: dict[str, list[int]] = {}
        for place, entry in enumerate(self._entries):
            self._with_word.setdefault(entry.word, []).append(place)

    def translate(self, text: str, *, strictly: bool = True) -> str | None:
        """The whole text in the language; None where it is not known."""
        if text in self._whole:
            return self._whole[text]
        words = {"", *_WORD.findall(text)}
        places = sorted(place for word in words for place in self._with_word.get(word, ()))
        found = (self._entries[p].translate(text, self, strictly=strictly) for p in places)
        return next((said for said in found if said is not None), None)

    def nested(self, text: str) -> str:
        """A message inside of another one, or several between commas."""
        if (found := _localized(text, self._language)) != text:
            return found
        parts = _LISTED.split(text)
        if any(part.count(" ") > LONGEST_OF_A_LIST for part in parts):
            return text
        said = [_localized(part, self._language) for part in parts]
        is_list = said[::2] != parts[::2] or all(" " not in part for part in parts[::2])
        return "".join(said) if is_list else text

    def names(self, text: str) -> str:
        """Names that a user gave: only what is said in their place or after them is a message."""
        return (self.translate(text) if " " in text else None) or text


def _has_values(english: str) -> bool:
    return "(s)" in english or _VALUE.search(english) is not None


def _entry(english: str, said: str) -> _Entry:
    literals = tuple(part for part in _GAP.split(english) if part)
    nested = {value[1]: value[2] for value in _VALUE.finditer(english) if value[2]}
    return _Entry(english, literals, nested, said)


_GAP = re.compile(r"\{\w+(?::(?:text|names))?\}|\(s\)")
_WORD = re.compile(r"\w+")
_LETTER = "\N{LATIN LETTER BILABIAL CLICK}"  # in no message: what touches a value is no whole word
_NUMBER = r"[+\-\u2212]?\d(?:[\d,]|\.(?=\d))*"
_WITHIN_A_SENTENCE = r"(?:(?![.!?] ).)+?"


@functools.cache
def _matcher(english: str, strictly: bool) -> re.Pattern[str]:
    """Matches a message: a value is a number, a text or, ``strictly``, a part of a sentence."""
    any_value = _WITHIN_A_SENTENCE if strictly else ".+?"
    pattern, at, seen = "", 0, set[str]()
    for value in _VALUE.finditer(english):
        name = value[1]
        pattern += _escaped(english[at : value.start()])
        kind = _NUMBER if len(name) == 1 else r"[\w-]+" if name == "code" else any_value
        pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{kind})"
        seen.add(name)
        at = value.end()
    return re.compile(pattern + _escaped(english[at:]))


def _escaped(literal: str) -> str:
    return "s?".join(map(re.escape, literal.split("(s)")))


def catalogue_of(language: str) -> dict[str, str]:
    """English message -> how it is said, of all parts of a language's file."""
    from importlib.resources import files  # here and not above: the command line starts with this

    text = (files(MESSAGES) / f"{language}.yaml").read_text(encoding="utf-8")
    parts = yaml_text.read(text)
    return {english: said for part in parts.values() for english, said in part.items()}


@functools.cache
def _catalogue(language: str) -> _Catalogue:
    return _Catalogue(language, catalogue_of(language))


# Which of two Korean particles follows depends on whether a consonant ends what is before it.
PARTICLES = {
    "은(는)": ("은", "는"),
    "이(가)": ("이", "가"),
    "을(를)": ("을", "를"),
    "과(와)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)": ("이", ""),
}
_PARTICLE = re.compile("|".join(map(re.escape, PARTICLES)))
_CLOSING = "'\"`»”’)]"
_BRACKETED = re.compile(r" ?\([^()]*\)$")
# As digits (영 일 이 삼 ...) and the ends of foreign words are read; most letters get a vowel.
_CONSONANTS = "013678lmn"
_CLOSED = re.compile(r"(?:ng|[aeiou]p)$")  # as in 맵, 스텝
_RIEUL = "178l"  # after which (으)로 is 로
FIRST_SYLLABLE, LAST_SYLLABLE, ENDINGS, RIEUL = 0xAC00, 0xD7A3, 28, 8


def with_particles(text: str) -> str:
    """Korean text in which `은(는)` and its like are what follows the word before them."""

    def chosen(match: re.Match[str]) -> str:
        named = _BRACKETED.sub("", text[: match.start()])
        before = named.rstrip(_CLOSING)[-1:].lower()
        after_consonant, after_vowel = PARTICLES[match[0]]
        code = ord(before) if before else 0
        if FIRST_SYLLABLE <= code <= LAST_SYLLABLE:
            ending = (code - FIRST_SYLLABLE) % ENDINGS
            closes, is_rieul = ending != 0, ending == RIEUL
        elif before and before.isascii() and before.isalnum():
            is_closed = _CLOSED.search(named.rstrip(_CLOSING).lower()) is not None
            closes, is_rieul = is_closed or before in _CONSONANTS, before in _RIEUL
        else:
            return after_vowel if before == "%" else match[0]
        is_open = not closes or (is_rieul and match[0] == "(으)로")
        return after_vowel if is_open else after_consonant

    return _PARTICLE.sub(chosen, text)
