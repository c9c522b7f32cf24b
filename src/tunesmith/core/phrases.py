"""Phrases for people: lists of names, names nearly right, and what is said in which language."""

import difflib
import functools
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import cast

from tunesmith.core import yaml_text
from tunesmith.core.language import DEFAULT as DEFAULT
from tunesmith.core.language import with_particles

Tree = Mapping[str, "str | Tree"]


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that was probably meant; None where none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def capitalized(text: str) -> str:
    """A sentence's beginning; the rest of it as it is."""
    return text[:1].upper() + text[1:]


def shorten(text: str, limit: int = 40) -> str:
    """At most so many characters of a text, and an ellipsis where there were more."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def listed(names: Iterable[str], limit: int = 8) -> str:
    """The first names, and `...` where there are more."""
    each = list(names)
    return ", ".join(each[:limit]) + ", ..." * (len(each) > limit)


def counted(names: Iterable[str], limit: int = 12) -> str:
    """The first names, and how many more there are."""
    each = list(names)
    return ", ".join(each[:limit]) + (f" and {len(each) - limit} more" if len(each) > limit else "")


def languages(package: str) -> tuple[str, ...]:
    """The languages that a package has phrases in."""
    names = (entry.name for entry in files(package).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


class Phrases:
    """The phrases of one language in a package."""

    def __init__(self, package: str, language: str = DEFAULT) -> None:
        """Raises ValueError for a language without phrases."""
        if language not in languages(package):
            known = ", ".join(languages(package))
            raise ValueError(f"there are no phrases in `{language}`, only in {known}")
        self.language = language
        self.phrases = _read(package, language)

    def has(self, key: str) -> bool:
        """Whether there is a phrase of this dotted name."""
        return self._find(key) is not None

    def phrase_or(self, key: str, otherwise: str) -> str:
        """The phrase of this name, or ``otherwise`` where there is none."""
        return self.phrase(key) if self.has(key) else otherwise

    def phrase(self, key: str, count: int | None = None, /, **values: object) -> str:
        """The phrase of a dotted name with ``values`` in it.

        ``count`` chooses between `one` and `other`, where a language has both, and is a value too.
        """
        phrase = self._find(key)
        if isinstance(phrase, Mapping):
            phrase = phrase["one" if count == 1 and "one" in phrase else "other"]
        if not isinstance(phrase, str):
            raise KeyError(key)
        said = phrase.format(count="" if count is None else f"{count:,}", **values)
        return with_particles(said) if self.language == "ko" else said

    def _find(self, key: str) -> "str | Tree | None":
        found: str | Tree | None = self.phrases
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


@functools.cache
def _read(package: str, language: str) -> Tree:
    text = (files(package) / f"{language}.yaml").read_text(encoding="utf-8")
    return cast(Tree, yaml_text.read(text))
