"""The frame of every page: one HTML file that loads nothing, escaped, in a language."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tunesmith import __version__
from tunesmith.core.numbers import limits_text, points
from tunesmith.core.phrases import Phrases
from tunesmith.report.plot import Plot

PHRASES = "tunesmith.report.words"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # not allowed in HTML, whatever the escape
QUOTED = re.compile(r"`([^`\n]+)`")
SHARE = re.compile(r"[-+]?[\d.,]+ %")
VISIBLE = "\N{SYMBOL FOR ESCAPE}"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; an empty one is left out."""

    name: str
    plots: Sequence[Plot]
    texts: Sequence[str] = ()
    folded: Sequence[str] = ()  # what the plots show, in words

    @property
    def has_content(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.plots or self.texts or self.folded)


def page(
    template: str, words: Phrases, *, title: str, goal: str | None = None, **values: Any
) -> str:
    """A template filled in; control characters are shown, everything is escaped."""
    sources = files("tunesmith.report").joinpath("pages")
    environment = Environment(
        loader=PackageLoader("tunesmith.report", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = _prose
    text = environment.get_template(template).render(
        phrase=words.phrase,
        language=words.language,
        css=sources.joinpath("page.css").read_text(encoding="utf-8"),
        js=sources.joinpath("page.js").read_text(encoding="utf-8"),
        version=__version__,
        title=title,
        goal=goal,
        **values,
    )
    return CONTROL.sub(VISIBLE, text)


def _prose(text: str) -> Markup:
    """A sentence, escaped; names between backquotes become code, shares never wrap."""
    whole = SHARE.sub(r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(QUOTED.sub(r"<code>\1</code>", whole))


def change_text(found: Mapping[str, Any]) -> str:
    """`+4.1 (+1.0 – +7.2)`: a difference in points with its limits."""
    return f"{points(found['mean'])} ({limits_text(found['low'], found['high'], points)})"
