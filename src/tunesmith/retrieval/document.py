"""What does a file contain, within which size: text, headings, pages and rows?"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from tunesmith.core.errors import RagError
from tunesmith.core.extras import require


def library(module: str) -> ModuleType:
    """A module of the extra `rag`; RagError that names it where it is not installed."""
    return require(module, "rag", RagError, what="Retrieval")


MAX_TEXT_BYTES = 32 * 2**20  # of a file that is text, and of the text that any file holds
MAX_FILE_BYTES = 512 * 2**20  # of a PDF or DOCX: mostly pictures


def require_text_size(count: int, *, what: str) -> None:
    """Raise RagError for more text than one file may hold."""
    if count > MAX_TEXT_BYTES:
        raise RagError(
            f"{what} {count / 2**20:,.0f} MB of text; a file may hold {MAX_TEXT_BYTES >> 20} MB.",
            remedy="Split it into files.",
            code="too_large",
        )


@dataclass(frozen=True, slots=True)
class Heading:
    """A title that rules from ``start`` until the next one of its level or a higher one (1)."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """The text of a file; every offset is a number of characters in it.

    For text, Markdown and source code it is the file's own text, so that an offset is a place in
    the file. ``pages`` are where pages begin, ``rows`` spans that are never joined with others.
    """

    text: str
    kind: str
    headings: Sequence[Heading] = ()
    pages: Sequence[int] = ()
    rows: Sequence[tuple[int, int]] = ()

    def heading_path(self, start: int, stop: int) -> tuple[str, ...]:
        """Titles from the highest down that rule at ``start``, or that it begins with."""
        path: list[Heading] = []
        for heading in self.headings:
            opens = start <= heading.start < stop and not self.text[start : heading.start].strip()
            if heading.start > start and not opens:
                break
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
        return tuple(heading.title for heading in path)

    @property
    def page_spans(self) -> list[tuple[int, int]]:
        """Where each page begins and ends."""
        return list(zip(self.pages, [*self.pages[1:], len(self.text)], strict=False))

    def page(self, at: int) -> int | None:
        """The page that holds this character, counted from 1; None without pages."""
        return bisect_right(self.pages, at) or None if self.pages else None
