"""HTML: what a reader sees of it, as Markdown."""

import re
from typing import TYPE_CHECKING

from tunesmith.rag.document import Document
from tunesmith.rag.extra import library
from tunesmith.rag.read.markdown import markdown_document
from tunesmith.rag.read.plain import decode

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

NEVER_SHOWN = ["script", "style", "template", "noscript", "iframe", "object", "svg", "head"]
INVISIBLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0(?:\.0*)?(?![.\d])"
    r"|font-size:0(?![.\d])|(?:text-indent|left|top):-\d{3,}"
    r"|(?:clip|clip-path):(?:rect\(0|inset\(100%|inset\(50%)"
)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
SIMPLE_SELECTOR = re.compile(r"[\w-]*(?:[.#][\w-]+)*")


def read_html(data: bytes) -> Document:
    """The page as Markdown, without what is hidden; raises RagError where it is no text."""
    return html_document(decode(data), "html")


def html_document(page: str, kind: str) -> Document:
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
