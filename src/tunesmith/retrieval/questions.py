"""Which passages of a store answer a question whose answers are known?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.retrieval.passage import Filter, Passage
from tunesmith.retrieval.retrieve import Hit, SearchOptions, alike, retrieve
from tunesmith.retrieval.scores import says, share_in
from tunesmith.retrieval.store import EmbeddingModel, PassageStore

CANDIDATES = 50
SURE_SHARE = 0.6  # of an answer's words, where it is no quotation and no place is given


@dataclass(frozen=True, slots=True)
class RetrievalQuestion:
    """A question with its right answers, the best first; without any, nothing answers it.

    ``source`` is the file that answers it, ``context`` the text, where they are known; ``group``
    holds questions together when some are held out.
    """

    text: str
    answers: tuple[str, ...]
    source: str | None = None
    context: str | None = None
    group: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class KnownPassages:
    """What a store has for a question: the best hits, and which passages answer it."""

    hits: tuple[Hit, ...]
    right: tuple[Passage, ...]


def know(
    store: PassageStore, embedder: EmbeddingModel, question: RetrievalQuestion
) -> KnownPassages:
    """The candidates for a question, and those that answer it, the best first.

    With ``source`` or ``context`` what lies there is right: passages that have an answer word by
    word or, where none has, all of them; and then hits from elsewhere that are nearly the same and
    have an answer too, for a copy of the file answers as well. Otherwise passages that have an
    answer word by word or, where none has, the one with most of its words.
    """
    everything = SearchOptions(CANDIDATES, candidates=CANDIDATES, keep_duplicates=True)
    hits = retrieve(store, embedder, question.text, everything)
    if not question.answers:
        return KnownPassages(tuple(hits), ())
    near = [hit.passage for hit in hits]
    if question.source is not None:
        there = SearchOptions(
            CANDIDATES, where=Filter(source=question.source), keep_duplicates=True
        )
        near = [hit.passage for hit in retrieve(store, embedder, question.text, there)]
    if question.context is not None:
        near += [match.passage for match in store.matching(question.context, CANDIDATES)]
        near = [p for p in near if alike(p.text, question.context) and _is_of(p, question.source)]
    is_placed = question.source is not None or question.context is not None
    unique = tuple({passage.id: passage for passage in near}.values())
    right = _right(unique, question.answers, is_placed=is_placed)
    return KnownPassages(tuple(hits), (*right, *_copies(hits, right, question.answers)))


def _copies(
    hits: Sequence[Hit], right: Sequence[Passage], answers: Sequence[str]
) -> Iterator[Passage]:
    """Other hits that say an answer as one of the right passages does."""
    known = {passage.id for passage in right}
    for passage in (hit.passage for hit in hits):
        if (
            passage.id not in known
            and any(says(passage.text, answer) for answer in answers)
            and any(alike(passage.text, each.text) for each in right)
        ):
            yield passage


def _is_of(passage: Passage, source: str | None) -> bool:
    return source is None or passage.source == source


def _right(
    near: Sequence[Passage], answers: Sequence[str], *, is_placed: bool
) -> tuple[Passage, ...]:
    saying = tuple(p for p in near if any(says(p.text, answer) for answer in answers))
    if saying or is_placed:
        return saying or tuple(near)
    shares = [(max(share_in(answer, [p.text]) for answer in answers), p) for p in near]
    best = max(shares, key=lambda pair: pair[0], default=None)
    return (best[1],) if best is not None and best[0] >= SURE_SHARE else ()


def missing_sources(store: PassageStore, questions: Sequence[RetrievalQuestion]) -> frozenset[str]:
    """What questions name as their ``source`` that is no file of the store."""
    named = {question.source for question in questions if question.source is not None}
    strange = named.difference(store.values("source")) if named else ()
    return frozenset(each for each in strange if not store.count(Filter(source=each).sql))


def says_nothing(passage: Passage, known: KnownPassages, answers: Sequence[str]) -> bool:
    """Whether a passage can be used where none may answer: not right, not like a right one, and
    without any of the answers.
    """
    return not (
        any(passage.id == right.id or alike(passage.text, right.text) for right in known.right)
        or any(says(passage.text, answer) for answer in answers)
    )
