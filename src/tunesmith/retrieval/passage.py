"""A passage in a store: its columns, its search terms, and the filters of a search.

Korean puts particles behind words, Chinese and Japanese put nothing between them: overlapping pairs
of characters find a word whatever follows it (as in Lucene's CJKAnalyzer).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields

from tunesmith.core.errors import RagError

UNSPACED = re.compile(
    "[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff]+"
)


def terms(text: str) -> str:
    """``text`` with runs of Hangul, Han and kana as pairs; composed and compatible forms alike."""
    return UNSPACED.sub(_pairs, unicodedata.normalize("NFKC", text))


def _pairs(run: re.Match[str]) -> str:
    characters = run[0]
    pairs = [characters[i : i + 2] for i in range(max(len(characters) - 1, 1))]
    return f" {' '.join(pairs)} "


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk with where it comes from.

    ``source`` is its file below the folder that was indexed, ``document`` identifies that file
    with that content, ``part`` counts the document's ``parts`` chunks from 0. ``start`` and
    ``stop`` are characters of the document's text.
    """

    id: str
    document: str
    source: str
    part: int
    parts: int
    kind: str
    heading: str
    page: int | None
    start: int
    stop: int
    text: str

    @property
    def place(self) -> str:
        """`handbook.pdf, Leave > Annual, page 3`."""
        page = "" if self.page is None else f"page {self.page:,}"
        return ", ".join(filter(None, (self.source, self.heading, page)))


COLUMNS = tuple(field.name for field in fields(Passage))


@dataclass(frozen=True, slots=True)
class Filter:
    """Only passages for which all of these hold.

    ``source`` is a name with `*` and `?`, ``heading`` a part of the heading path (case counts).
    """

    source: str | None = None
    kind: str | None = None
    heading: str | None = None
    page: int | None = None

    @property
    def sql(self) -> str | None:
        """The condition for the store; None where everything may be seen."""
        parts = []
        if self.source is not None:
            parts.append(f"source LIKE {quoted(_like(self.source))}")
        if self.kind is not None:
            parts.append(f"kind = {quoted(self.kind)}")
        if self.heading is not None:
            within = _like(self.heading.replace("*", "").replace("?", ""))
            parts.append(f"heading LIKE {quoted(f'%{within}%')}")
        if self.page is not None:
            parts.append(f"page = {self.page:d}")
        return " AND ".join(parts) or None

    @property
    def conditions(self) -> "Iterator[Filter]":
        """A filter for each condition alone."""
        for each in fields(self):
            if (value := getattr(self, each.name)) is not None:
                yield Filter(**{each.name: value})

    def __str__(self) -> str:
        """As a user writes it: `kind=pdf, page=3`."""
        given = ((each.name, getattr(self, each.name)) for each in fields(self))
        return ", ".join(f"{name}={value}" for name, value in given if value is not None)


def parse_filter(words: list[str]) -> Filter:
    """A filter of `key=value` words.

    Raises RagError for another key, a page that is none, and a key that is given twice.
    """
    found: dict[str, str] = {}
    known = [field.name for field in fields(Filter)]
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or key not in known or (key == "page" and not value.isdecimal()):
            remedy = f"Write key=value with one of {', '.join(known)}, as in source=*.pdf."
            raise RagError(
                f"{word!r} is not a condition on passages.", remedy=remedy, code="filter"
            )
        if key in found:
            what = f"Passages cannot have both {key}={found[key]} and {word}."
            remedy = f"Give {key} once; * in a source matches any letters."
            raise RagError(what, remedy=remedy, code="filter")
        found[key] = value
    page = int(found["page"]) if "page" in found else None
    return Filter(found.get("source"), found.get("kind"), found.get("heading"), page)


def quoted(text: str) -> str:
    """A literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _like(pattern: str) -> str:
    """A pattern with `*` and `?` as one of LIKE."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")
