"""Which words of an answer are the fact, and does another answer hold them?"""

import re
from dataclasses import dataclass

from tunesmith.data.quality.knowledge import names_told
from tunesmith.data.quality.text import bare, fold, words

_HANGUL = re.compile("[\uac00-\ud7a3]")
# Words that say no fact, of answers that are one sentence about it.
_FUNCTION = frozenset(
    re.split(
        " ",
        "a an the of in on at to by for with from and or is are was were be been it its this that "
        "he she they his her their who whom which what when where there as has have had",
    )
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A question and its answer; ``words`` are those of the answer that the question lacks and
    that must be known: its names and numbers, else all words of it that say something.
    """

    question: str
    answer: str
    words: frozenset[str]

    def is_exact(self, answer: str) -> bool:
        """Whether an answer is the same but for case and punctuation."""
        return bare(fold(answer)) == bare(fold(self.answer))

    def is_contained(self, answer: str) -> bool:
        """Whether an answer holds every word of the fact, in any order.

        Words in Hangul may have a particle behind them.
        """
        said = words(bare(fold(answer)))
        text, known = " ".join(said), set(said)
        return all(word in (text if _HANGUL.search(word) else known) for word in self.words)


def fact_of(question: str, answer: str) -> Fact | None:
    """The fact of a row; None where the answer says nothing that the question does not."""
    asked = set(words(bare(fold(question))))
    told = [word for word in words(bare(fold(answer))) if word not in asked]
    names = {part for name in names_told(question, answer) for part in words(bare(fold(name)))}
    key = (names - asked) or {word for word in told if word not in _FUNCTION}
    return Fact(question, answer, frozenset(key)) if key - {""} else None
