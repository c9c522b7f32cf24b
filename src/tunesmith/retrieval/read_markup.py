"""Markdown and HTML: the text that a reader sees, with its headings."""

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.retrieval.document import Heading, SourceDocument, library
from tunesmith.retrieval.read_text import decode

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag


# Comments, what no reader is shown, and elements that say they are hidden.
HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|template)\b.*?(?:</\1\s*>|\Z)"
    r"|<(\w+)\b[^>]*(?:\shidden\b|display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?(?![.\d])"
    r"|font-size\s*:\s*0(?![.\d]))[^>]*>.*?(?:</\2\s*>|\Z)",
    re.S | re.I,
)


def read_markdown(data: bytes) -> SourceDocument:
    """Raises RagError where the bytes are no text."""
    return markdown_document(decode(data), "markdown")


def markdown_document(text: str, kind: str) -> SourceDocument:
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
    return SourceDocument(shown, kind, headings)


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


NEVER_SHOWN = ["script", "style", "template", "noscript", "iframe", "object", "svg", "head"]
INVISIBLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0(?:\.0*)?(?![.\d])"
    r"|font-size:0(?![.\d])|(?:text-indent|left|top):-\d{3,}"
    r"|(?:clip|clip-path):(?:rect\(0|inset\(100%|inset\(50%)"
)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
SIMPLE_SELECTOR = re.compile(r"[\w-]*(?:[.#][\w-]+)*")


def read_html(data: bytes) -> SourceDocument:
    """The page as Markdown, without what is hidden; raises RagError where it is no text."""
    return html_document(decode(data), "html")


def html_document(page: str, kind: str) -> SourceDocument:
    """Hidden is what is never shown, and what an attribute or a simple rule of a style hides."""
    bs4, markdownify = library("bs4"), library("markdownify")
    soup: BeautifulSoup = bs4.BeautifulSoup(page, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    selectors = ", ".join(_hidden_selectors(soup))
    for comment in soup.find_all(
        string=lambda text: isinstance(text, bs4.element.PreformattedString)
    ):
        comment.extract()
    hidden = soup.select(selectors) if selectors else []
    for element in [*soup.find_all(NEVER_SHOWN), *soup.find_all(_is_hidden), *hidden]:
        element.extract()
    text = markdownify.MarkdownConverter(
        heading_style="atx", strip=["a", "img"], bullets="-"
    ).convert_soup(soup)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    if title and not soup.find("h1"):
        text = f"# {title}\n\n{text}"
    return markdown_document(text, kind)


def _is_hidden(tag: "Tag") -> bool:
    style = re.sub(r"\s", "", str(tag.get("style", ""))).lower()
    is_hidden_input = tag.name == "input" and tag.get("type") == "hidden"
    return tag.has_attr("hidden") or is_hidden_input or bool(INVISIBLE.search(style))


def _hidden_selectors(soup: "BeautifulSoup") -> list[str]:
    """Selectors by name, class and id of rules that hide; `@media` blocks are read like others."""
    css = "\n".join(style.get_text() for style in soup.find_all("style"))
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    found = []
    for names, body in RULE.findall(css):
        if INVISIBLE.search(re.sub(r"\s", "", body).lower()):
            each = (name.strip() for name in names.split(","))
            found += [name for name in each if name and SIMPLE_SELECTOR.fullmatch(name)]
    return found
