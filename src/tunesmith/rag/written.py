"""A question and its answer that a model wrote about a passage: may they stay?

The answer must stand in the passage word by word, and the question must find the passage again:
round-trip consistency (Alberti et al. 2019, arXiv 1906.05416), by retrieval in the place of a
second model.
"""

import re
from dataclasses import dataclass

from tunesmith.rag.embedding import Embedder
from tunesmith.rag.passage import Passage
from tunesmith.rag.retrieve import Search, retrieve
from tunesmith.rag.scores import says, words_of
from tunesmith.rag.store import Store

QUESTION, ANSWER = "Question:", "Answer:"
FORM = re.compile(rf"\s*{QUESTION}[ \t]*(\S[^\n]*?)\s*\n\s*{ANSWER}[ \t]*(\S[^\n]*)")
FEWEST_WORDS = 4  # of a question
MOST_WORDS = 8  # of an answer
FAULTS = {
    "form": "is no question with an answer",
    "no_question": "asks in fewer than four words, or without a question mark",
    "long_answer": "has an answer of more than eight words",
    "not_in_passage": "has an answer that does not stand in the passage",
    "given_away": "has its answer in the question",
    "not_found": "does not find its passage again",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A question with its answer."""

    question: str
    answer: str


def parse_reply(reply: str) -> Written | None:
    """What is written in the form asked for, a line each; None for anything else."""
    found = FORM.match(reply)
    return Written(found[1], found[2].strip(" .\"'*")) if found else None


def fault_of(written: Written | None, passage: Passage) -> str | None:
    """The first of FAULTS that shows without a search; None where there is none."""
    if written is None:
        return "form"
    question, answer = written.question, words_of(written.answer)
    if not question.endswith(("?", "？")) or len(question.split()) < FEWEST_WORDS:
        return "no_question"
    if len(answer) > MOST_WORDS:
        return "long_answer"
    if not says(passage.text, written.answer):
        return "not_in_passage"
    return "given_away" if says(question, written.answer) else None


def finds_again(
    store: Store, embedder: Embedder, question: str, passage: Passage, *, among: int
) -> bool:
    """Whether the passage is among the first hits for the question."""
    hits = retrieve(store, embedder, question, Search(among, keep_duplicates=True))
    return any(hit.passage.id == passage.id for hit in hits)
