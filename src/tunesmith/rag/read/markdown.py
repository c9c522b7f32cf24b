"""Markdown: its text with hidden parts blanked, and its headings."""

import itertools
import re
from collections.abc import Iterator

from tunesmith.rag.document import Document, Heading
from tunesmith.rag.read.plain import decode

# Comments, what no reader is shown, and elements that say they are hidden.
HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|template)\b.*?(?:</\1\s*>|\Z)"
    r"|<(\w+)\b[^>]*(?:\shidden\b|display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?(?![.\d])"
    r"|font-size\s*:\s*0(?![.\d]))[^>]*>.*?(?:</\2\s*>|\Z)",
    re.S | re.I,
)


def read_markdown(data: bytes) -> Document:
    """Raises RagError where the bytes are no text."""
    return markdown_document(decode(data), "markdown")


def markdown_document(text: str, kind: str) -> Document:
    """Offsets stay those of ``text``: what is hidden becomes spaces."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    starts = line_starts(text)
    headings, with_html = [], []
    for token, following in itertools.pairwise([*tokens, *tokens[-1:]]):
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "heading_open":
            headings.append(Heading(starts[first], int(token.tag[1]), following.content.strip()))
        children = token.children or ()
        if token.type == "html_block" or any(c.type == "html_inline" for c in children):
            with_html.append((starts[first], starts[min(last, len(starts) - 1)]))
    shown = _without(text, list(_hidden(text, with_html)))
    headings = [each for each in headings if shown[each.start : each.start + 1].strip()]
    return Document(shown, kind, headings)


def line_starts(text: str) -> list[int]:
    """Where each line begins, and the end of the text; lines end as in CommonMark."""
    ends = (match.end() for match in re.finditer(r"\r\n|\n|\r", text))
    return [0, *ends, len(text)]


def _hidden(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that begin in one of these places; what is hidden may end far behind it."""
    for start, stop in places:
        at = start
        while (found := HIDDEN.search(text, at)) and found.start() < stop:
            yield found.span()
            at = found.end()


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    for start, stop in spans:
        text = text[:start] + re.sub(r"[^\r\n]", " ", text[start:stop]) + text[stop:]
    return text
