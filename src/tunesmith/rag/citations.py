"""Does an answer cite sources that exist, and quote what stands in them?"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.rag.prompt import CUT_MARK, Source

CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")
QUOTE = re.compile('“([^”]+)”|"([^"\n]+)"|«([^»]+)»|「([^」]+)」|『([^』]+)』')
SHORTEST_QUOTE = 12  # characters: below, quotation marks often set a word apart


@dataclass(frozen=True, slots=True)
class Quote:
    """Words in quotation marks, and the numbers of the sources that have them."""

    text: str
    found_in: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Citations:
    """What an answer refers to: numbers of sources that exist, numbers that do not, its quotes."""

    cited: tuple[int, ...]
    unknown: tuple[int, ...]
    quotes: tuple[Quote, ...]

    def faults(self) -> list[str]:
        """What is wrong, a sentence each."""
        unknown = [f"The answer cites [{number}], which is no source." for number in self.unknown]
        return unknown + [
            f"The answer quotes “{quote.text}”, which stands in no source."
            for quote in self.quotes
            if not quote.found_in
        ]


def check_citations(answer: str, sources: Sequence[Source]) -> Citations:
    """Every citation and every quotation of an answer; blanks and case of a quote do not count."""
    numbers = [int(n) for found in CITATION.findall(answer) for n in re.findall(r"\d+", found)]
    known = {source.number for source in sources}
    texts = {source.number: _plain(source.text.removesuffix(CUT_MARK)) for source in sources}
    quotes = []
    for groups in QUOTE.findall(answer):
        text = CITATION.sub("", "".join(groups)).strip()
        if len(text) >= SHORTEST_QUOTE:
            words = _plain(text).strip(".,;:!?")
            quotes.append(Quote(text, tuple(n for n, said in texts.items() if words in said)))
    return Citations(
        cited=tuple(dict.fromkeys(n for n in numbers if n in known)),
        unknown=tuple(dict.fromkeys(n for n in numbers if n not in known)),
        quotes=tuple(quotes),
    )


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).translate({0x2019: "'", 0x2018: "'"})
    return " ".join(text.lower().split())
