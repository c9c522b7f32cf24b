"""Whether answers are facts to be known rather than behaviour to be learned."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.counts import percent
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.sample import Sample, Sampled

FEWEST_ROWS = 20
# Set by the data sets in docs/data-quality.md, which lists the figures of each.
NAMED_ROWS, NAMED_WORDS = 0.2, 0.03
ASKING_ROWS, NEW_WORDS = 0.6, 0.35
_WORD = re.compile(r"[^\W_]+(?:['’.,]\d+)*")
_ASKS = re.compile(
    r"\b(?:who|whom|whose|when|where|which|what|why|how (?:many|much|long|old|far))\b"
    r"|누구|누가|언제|어디|몇|무엇|무슨|어느",
    re.IGNORECASE,
)
_SENTENCE_START = tuple('.!?:"“(\n')


@dataclass(frozen=True, slots=True)
class Facts:
    """How much of a fact answers look like.

    ``named_rows``: share of rows with a name or number that no other answer has and the question
    does not give; ``named_words``: share of such words among all of the answers' words;
    ``asking_rows``: share of questions for a person, time, place, number or thing; ``new_words``:
    share of the answers' words that at most one other answer has and the question does not give.
    """

    named_rows: float
    named_words: float
    asking_rows: float
    new_words: float

    @property
    def are_knowledge(self) -> bool:
        """Whether most of what there is to learn is facts."""
        named = self.named_rows >= NAMED_ROWS and self.named_words >= NAMED_WORDS
        asked = self.asking_rows >= ASKING_ROWS and self.new_words >= NEW_WORDS
        return named or asked


def knowledge(sample: Sample) -> Iterator[Finding]:
    """Told of a data set that would teach facts."""
    rows = sample.rows()
    if len(rows) < FEWEST_ROWS:
        return
    facts = measure(rows)
    if facts.are_knowledge:
        what = (
            f"this looks like knowledge: {percent(facts.named_rows)} of the answers have a name or "
            f"number of their own, {percent(facts.new_words)} of their words are new; fine-tuning "
            "teaches behaviour, retrieval fits facts better"
        )
        yield Finding("knowledge", what, count=sample.count)


def measure(rows: Sequence[Sampled]) -> Facts:
    """The shares for these rows."""
    parts = [_parts(row) for row in rows]
    words = Counter(word for _, each, _ in parts for word in each)
    names = Counter(name for _, _, each in parts for name in each)
    own = [sum(names[name] == 1 for name in each) for _, _, each in parts]
    total = sum(len(_WORD.findall(row.answer)) for row in rows) or 1
    new = sum(words[w] <= 2 and w not in asked for asked, each, _ in parts for w in each)
    return Facts(
        named_rows=sum(map(bool, own)) / len(rows),
        named_words=sum(own) / total,
        asking_rows=sum(bool(_ASKS.search(row.question)) for row in rows) / len(rows),
        new_words=new / total,
    )


def names_told(question: str, answer: str) -> set[str]:
    """Names and numbers in an answer that its question does not give, in one case."""
    return _parts(Sampled(0, question, answer))[2]


def _parts(row: Sampled) -> tuple[set[str], set[str], set[str]]:
    """The question's words, the answer's words, and the answer's names and numbers not asked."""
    asked = {word.casefold() for word in _WORD.findall(row.question)}
    answered, names = set(), set()
    for match in _WORD.finditer(row.answer):
        word = match[0]
        answered.add(word.casefold())
        before = row.answer[: match.start()].rstrip()
        begins = not before or before.endswith(_SENTENCE_START)
        if word[0].isdigit() or (word[0].isupper() and len(word) > 1 and not begins):
            names.add(word.casefold())
    return asked, answered, names - asked
