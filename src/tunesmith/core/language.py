"""In which language are people addressed, and how is a message said in it?

Messages are English where they are made, in files and in JSON, and are put into the user's language
where they are shown. As with gettext the English text is the key; `{name}` in it is any value,
`{name:text}` one that is a message itself, `{n}` (one letter) a number, `{code}` a word, and `(s)`
the ending of a plural.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import yaml

from tunesmith.core.errors import UsageError
from tunesmith.core.phrases import DEFAULT, languages, with_particles

MESSAGES = "tunesmith.core.messages"
# The first that is set says it, as for any program of a POSIX system.
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_chosen: list[str] = []


def known_languages() -> tuple[str, ...]:
    """The languages that messages can be shown in."""
    return (DEFAULT, *languages(MESSAGES))


def language_of(environment: Mapping[str, str]) -> str:
    """The language that the locale asks for; English where there are no words in that."""
    locale = next((environment[name] for name in VARIABLES if environment.get(name)), "")
    language = re.split(r"[_.@-]", locale)[0].lower()
    return language if language in known_languages() else DEFAULT


def current_language() -> str:
    """The language that was chosen, or else the locale's."""
    return _chosen[-1] if _chosen else language_of(os.environ)


def require_language(language: str) -> str:
    """The language; raises UsageError where there are no words in it."""
    if language not in known_languages():
        known = ", ".join(known_languages())
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
    found = catalogue.translate(plain)
    if found is None:
        pieces = _parts(plain)
        found = plain if len(pieces) == 1 else "".join(_localized(p, language) for p in pieces)
    if found == plain:  # a value may be several sentences after all
        found = catalogue.translate(plain, strictly=False) or plain
    start = len(text) - len(text.lstrip())
    return f"{text[:start]}{found}{text[start + len(plain) :]}"


def _parts(text: str) -> list[str]:
    """The lines of a text; of one line its place (`rows.csv:3:`) and the rest, else sentences."""
    if "\n" in text:
        return _LINES.split(text)
    if place := _PLACE.match(text):
        return [place[0], text[place.end() :]]
    return _SENTENCES.split(text)


_LINES = re.compile(r"(\n)")
_PLACE = re.compile(r"(?:.*?:\d+:|\S+:) ")
_SENTENCES = re.compile(r"(?<=[.!?;])( )(?=\S)")
_VALUE = re.compile(r"\{(\w+)(:text)?\}")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An English message and how it is said; ``literals`` are its parts between values.

    A value in ``pattern`` ends with its sentence, in ``loose`` it may be anything.
    """

    pattern: re.Pattern[str]
    loose: re.Pattern[str]
    literals: tuple[str, ...]
    nested: frozenset[str]
    said: str

    @property
    def vagueness(self) -> tuple[bool, int]:
        """What begins with a value comes last; before it, what has fewer words of its own."""
        return self.pattern.pattern.startswith("(?P<"), -sum(map(len, self.literals))

    def translate(self, text: str, catalogue: "_Catalogue", *, strictly: bool) -> str | None:
        """The message in the language; None where the text is another one."""
        if not all(part in text for part in self.literals):
            return None
        match = (self.pattern if strictly else self.loose).fullmatch(text)
        if match is None:
            return None
        values = match.groupdict()
        for name in self.nested:
            values[name] = catalogue.nested(values[name])
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

    def translate(self, text: str, *, strictly: bool = True) -> str | None:
        """The whole text in the language; None where it is not known."""
        if text in self._whole:
            return self._whole[text]
        found = (entry.translate(text, self, strictly=strictly) for entry in self._entries)
        return next((said for said in found if said is not None), None)

    def nested(self, text: str) -> str:
        """A message inside of another one."""
        return _localized(text, self._language)


def _has_values(english: str) -> bool:
    return "(s)" in english or _VALUE.search(english) is not None


def _entry(english: str, said: str) -> _Entry:
    values = list(_VALUE.finditer(english))
    literals = [part for part in re.split(r"\{\w+(?::text)?\}|\(s\)", english) if part]
    nested = frozenset(value[1] for value in values if value[2])
    patterns = (re.compile(_pattern(english, each)) for each in (_WITHIN_A_SENTENCE, ".+?"))
    return _Entry(*patterns, tuple(literals), nested, said)


_WITHIN_A_SENTENCE = r"(?:(?![.!?] ).)+?"


def _pattern(english: str, any_value: str) -> str:
    """A regular expression for a message in which a value is ``any_value``, or a number."""
    pattern, at, seen = "", 0, set[str]()
    for value in _VALUE.finditer(english):
        name = value[1]
        pattern += _escaped(english[at : value.start()])
        kind = r"[\d,.]+" if len(name) == 1 else r"[\w-]+" if name == "code" else any_value
        pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{kind})"
        seen.add(name)
        at = value.end()
    return pattern + _escaped(english[at:])


def _escaped(literal: str) -> str:
    return "s?".join(map(re.escape, literal.split("(s)")))


def catalogue_of(language: str) -> dict[str, str]:
    """English message -> how it is said, of all parts of a language's file."""
    text = (files(MESSAGES) / f"{language}.yaml").read_text(encoding="utf-8")
    parts = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {english: said for part in parts.values() for english, said in part.items()}


@functools.cache
def _catalogue(language: str) -> _Catalogue:
    return _Catalogue(language, catalogue_of(language))
