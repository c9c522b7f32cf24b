"""A document cut into passages: by its structure, within a number of tokens, with overlap."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import RagError
from tunesmith.core.numbers import pluralize
from tunesmith.retrieval.document import library

if TYPE_CHECKING:
    from tunesmith.retrieval.document import SourceDocument

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
            raise RagError(
                f"Passages of {pluralize(self.tokens, 'token')} cannot share {self.overlap}.",
                remedy="Take an overlap from 0 to below the tokens.",
                code="cutting",
            )


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
            raise RagError(
                f"{model} has no tokenizer.json, by which passages are measured.",
                remedy="Save the model's fast tokenizer into it (`save_pretrained`).",
            )
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

    def cut(self, document: "SourceDocument") -> list[Chunk]:
        """Every passage in order; a row that fits is one passage, and none lies on two pages."""
        return [self._chunk(document, start, text) for start, text in self._pieces(document)]

    def _pieces(self, document: "SourceDocument") -> Iterator[tuple[int, str]]:
        is_markdown = document.kind in ("markdown", "html", "docx")
        splitter = self._markdown if is_markdown else self._plain
        for first, last in document.rows or document.page_spans or [(0, len(document.text))]:
            for start, text in splitter.chunk_indices(document.text[first:last]):
                yield first + start, text

    @staticmethod
    def _chunk(document: "SourceDocument", start: int, text: str) -> Chunk:
        stop = start + len(text)
        path = HEADING_SEPARATOR.join(document.heading_path(start, stop))
        return Chunk(text, start, stop, path, document.page(start))
