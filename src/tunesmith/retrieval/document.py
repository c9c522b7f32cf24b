"""The text of a document with its structure, and its passages: cut by tokens, with overlap."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tunesmith.core.errors import RagError
from tunesmith.core.extras import require
from tunesmith.core.numbers import pluralize


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


HEADING_SEPARATOR = " > "


@dataclass(frozen=True, slots=True)
class ChunkConfig:
    """Most tokens of a passage, and how many of them the one before it may share.

    Tokens are those of the embedding model. Its 256 leave room for headings in front of 200.
    """

    tokens: int = 200
    overlap: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.tokens:
            what = f"Passages of {pluralize(self.tokens, 'token')} cannot share {self.overlap}."
            remedy = "Take an overlap from 0 to below the tokens."
            raise RagError(what, remedy=remedy, code="cutting")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: the characters ``start`` to ``stop`` of its document, without outer blanks."""

    text: str
    start: int
    stop: int
    heading: str
    page: int | None


class Cutter:
    """Cuts documents; raises RagError where the folder of the model has no tokenizer.json."""

    def __init__(self, model: Path, chunk_config: ChunkConfig) -> None:
        from tokenizers import Tokenizer

        file = model / "tokenizer.json"
        if not file.is_file():
            what = f"{model} has no tokenizer.json, by which passages are measured."
            remedy = "Save the model's fast tokenizer into it (`save_pretrained`)."
            raise RagError(what, remedy=remedy)
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()  # a cut text would be measured as one that fits
        tokenizer.no_padding()
        splitters = library("semantic_text_splitter")
        self._markdown = self._made(splitters.MarkdownSplitter, tokenizer, chunk_config)
        self._plain = self._made(splitters.TextSplitter, tokenizer, chunk_config)

    @staticmethod
    def _made(kind: Any, tokenizer: object, chunk_config: ChunkConfig) -> Any:
        return kind.from_huggingface_tokenizer(
            tokenizer, chunk_config.tokens, overlap=chunk_config.overlap
        )

    def cut(self, document: SourceDocument) -> list[Chunk]:
        """Every passage in order; a row that fits is one passage, and none lies on two pages."""
        return [self._chunk(document, start, text) for start, text in self._pieces(document)]

    def _pieces(self, document: SourceDocument) -> Iterator[tuple[int, str]]:
        is_markdown = document.kind in ("markdown", "html", "docx")
        splitter = self._markdown if is_markdown else self._plain
        for first, last in document.rows or document.page_spans or [(0, len(document.text))]:
            for start, text in splitter.chunk_indices(document.text[first:last]):
                yield first + start, text

    @staticmethod
    def _chunk(document: SourceDocument, start: int, text: str) -> Chunk:
        stop = start + len(text)
        path = HEADING_SEPARATOR.join(document.heading_path(start, stop))
        return Chunk(text, start, stop, path, document.page(start))
