"""Which passages answer a question: by meaning, by words, or by both, and why these?"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import RagError, UsageError
from tunesmith.retrieval.passage import Filter, Passage
from tunesmith.retrieval.store import EmbeddingModel, PassageStore


def require_passages(store: PassageStore, where: Filter) -> None:
    """Raise RagError where no passage meets ``where``, with the condition that none meets.

    To search nothing would read as "the documents do not say".
    """
    if where.sql is None or store.count(where.sql):
        return
    for one in where.conditions:
        if not store.count(one.sql):
            raise RagError(f"No passage has {one}.", remedy=_near(store, one), code="filter")
    what = f"No passage has {where} together."
    raise RagError(what, remedy="Leave one of them out.", code="filter")


def _near(store: PassageStore, one: Filter) -> str:
    if one.kind is not None:
        return f"The store has {', '.join(store.values('kind'))}."
    if one.page is not None:
        return "Only PDFs have pages, counted from 1."
    if one.heading is not None:
        return "It is a part of the heading path, and capitals count."
    sources = store.values("source")
    near = difflib.get_close_matches(one.source or "", sources, n=3, cutoff=0.4) or sources[:3]
    return f"There is {', '.join(near)}; * matches any letters, as in source=*.pdf."


RRF_K = 60  # of the paper; on XQuAD 1 to 60 differ by less than a point
SHINGLE_WORDS = 3
DUPLICATE_SHARE = 0.8

Mode = Literal["hybrid", "dense", "text"]
MODES: tuple[Mode, ...] = ("dense", "text", "hybrid")
Reranker = Callable[[str, Sequence[str]], Sequence[float]]
"""A cross-encoder: a question and n texts -> n scores, the best the highest."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to look; ``candidates`` of each retriever are fused, ``limit`` come back."""

    limit: int = 5
    mode: Mode = "hybrid"
    candidates: int = 50
    where: Filter = field(default_factory=Filter)
    keep_duplicates: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for another mode, or for no passage at all."""
        require_mode(self.mode)
        if self.limit < 1:
            raise UsageError(f"limit must be at least 1 (given: {self.limit}).")


def require_mode(mode: str) -> None:
    """Raise UsageError for what is no way to search."""
    if mode not in MODES:
        raise UsageError(
            f"There is no way to search called {mode!r}.", remedy=f"There are: {', '.join(MODES)}."
        )


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one retriever said of a passage: its rank from 1, and its score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Fused:
    """A row of the store with its fused ``score``, and what each retriever said of it."""

    row: int
    score: float
    dense: Ranked | None = None
    text: Ranked | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with ``score``, by which hits are ordered, and what it is made of.

    ``cosine`` is that of question and passage, also where only words found it; None where the
    question was not embedded.
    """

    passage: Passage
    score: float
    cosine: float | None = None
    dense: Ranked | None = None
    text: Ranked | None = None
    rerank: float | None = None

    def explain(self) -> str:
        """`0.0325 = 1/(60+1) by meaning (cosine 0.61) + 1/(60+2) by words (BM25 12.3)`."""
        parts = []
        if self.dense is not None:
            parts.append(
                f"1/({RRF_K}+{self.dense.rank}) by meaning (cosine {self.dense.score:.2f})"
            )
        if self.text is not None:
            parts.append(f"1/({RRF_K}+{self.text.rank}) by words (BM25 {self.text.score:.1f})")
        fused = " + ".join(parts)
        if self.rerank is not None:
            return f"{self.score:.4f} by the reranker, of candidates with {fused}"
        return f"{self.score:.4f} = {fused}"


def retrieve(
    store: PassageStore,
    embedder: EmbeddingModel,
    question: str,
    search: SearchOptions | None = None,
    *,
    rerank: Reranker | None = None,
) -> list[Hit]:
    """The passages for a question, best first, near duplicates of better ones left out.

    With ``mode`` text the model is not asked, and no hit has a cosine.
    """
    search = search or SearchOptions()
    vector = None if search.mode == "text" else embedder.embed([question], as_query=True)[0]
    words = None if search.mode == "dense" else question
    count = max(search.candidates, search.limit)
    fused = fuse(*store.find(vector, words, count, search.where.sql))
    if rerank is not None:
        hits = _read(store, fused, vector)
        scores = rerank(question, [hit.passage.text for hit in hits]) if hits else []
        hits = [replace(h, score=s, rerank=s) for h, s in zip(hits, scores, strict=True)]
        hits.sort(key=lambda hit: -hit.score)
        kept = hits if search.keep_duplicates else without_duplicates(hits, search.limit)
        return kept[: search.limit]
    if search.keep_duplicates:
        return _read(store, fused[: search.limit], vector)
    return _first_unlike(store, fused, vector, search.limit)


def fuse(dense: Sequence[tuple[int, float]], text: Sequence[tuple[int, float]]) -> list[Fused]:
    """Reciprocal rank fusion: score = sum over retrievers of 1 / (k + rank), k = 60.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual
    Rank Learning Methods" (SIGIR 2009). Where two are equal (first by meaning and second by words,
    and the other way round), the one comes first whose scores are nearer to the best of each
    retriever. Both are rows with the retriever's scores, the best first.
    """
    found: dict[int, Fused] = {}
    nearness: dict[int, float] = {}
    for name, rows in (("dense", dense), ("text", text)):
        best = rows[0][1] if rows else 0.0
        for rank, (row, score) in enumerate(rows, start=1):
            one = found.get(row) or Fused(row, 0.0)
            ranked = {name: Ranked(rank, score)}
            total = one.score + 1 / (RRF_K + rank)
            found[row] = replace(one, score=total, **ranked)  # type: ignore[arg-type]
            nearness[row] = nearness.get(row, 0.0) + (score / best if best > 0 else 0.0)
    # Rounded: a sum must not depend on its order.
    return sorted(found.values(), key=lambda one: (-round(one.score, 12), -nearness[one.row]))


def _first_unlike(
    store: PassageStore, fused: Sequence[Fused], vector: NDArray[np.float32] | None, limit: int
) -> list[Hit]:
    """What ``without_duplicates`` leaves of all, with no more rows read than that takes."""
    hits: list[Hit] = []
    kept: list[Hit] = []
    for start in range(0, len(fused), 2 * limit):
        hits += _read(store, fused[start : start + 2 * limit], vector)
        kept = without_duplicates(hits, limit)
        if len(kept) == limit:
            break
    return kept


def _read(
    store: PassageStore, fused: Sequence[Fused], vector: NDArray[np.float32] | None
) -> list[Hit]:
    """The passages of these rows; their cosines are with the question's ``vector`` [D]."""
    hits = []
    taken = store.take([one.row for one in fused])
    for one in fused:
        passage, own = taken[one.row]
        cosine = None if vector is None else float(own @ vector)
        hits.append(Hit(passage, one.score, cosine, one.dense, one.text))
    return hits


def without_duplicates(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first ``limit`` hits, each unlike those before it.

    Alike are texts of which the shorter one shares four fifths of its word triples, and the later
    one adds no number and no name. Rows of a table are alike only where they are equal.
    """
    kept: list[Hit] = []
    seen: list[frozenset[tuple[str, ...]]] = []
    for hit in hits:
        if len(kept) == limit:
            break
        shingles = _shingles(hit.passage.text)
        if not any(
            _shared(shingles, other) >= DUPLICATE_SHARE and _repeats(hit.passage, each.passage)
            for other, each in zip(seen, kept, strict=True)
        ):
            kept.append(hit)
            seen.append(shingles)
    return kept


WORD = re.compile(r"\w+")
OPENING = re.compile(r"(?:\A|[.!?:]\s|\n)\W*(?=\w)")  # what a sentence's first word comes after


def _repeats(passage: Passage, better: Passage) -> bool:
    """Whether one that is alike has no fact that the better one lacks."""
    if "rows" in (passage.kind, better.kind):
        return passage.text == better.text
    own, known = _words(passage.text), _words(better.text)
    openings = {match.end() for match in OPENING.finditer(passage.text)}
    replaces = not known <= own  # else a sentence more may begin with any word
    return not any(
        match[0].lower() not in known and _is_fact(match[0])
        for match in WORD.finditer(passage.text)
        if replaces or match.start() not in openings or not match[0].isalpha()
    )


def _is_fact(word: str) -> bool:
    """A number or a name; without capitals, as in Korean, each word may be one."""
    return any(char.isnumeric() or (char.isalpha() and not char.islower()) for char in word)


def _words(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text.lower()))


def alike(text: str, other: str) -> bool:
    """Whether one of them says nearly nothing that the other does not, by the same measure."""
    return _shared(_shingles(text), _shingles(other)) >= DUPLICATE_SHARE


def with_neighbours(store: PassageStore, passage: Passage, count: int) -> Passage:
    """The passage with ``count`` chunks before and behind it, what they share written once."""
    near = range(passage.part - count, passage.part + count + 1)
    parts = store.parts(passage.document, near) if count else [passage]
    if not parts or passage.kind == "rows":
        return passage
    text, stop = parts[0].text, parts[0].stop
    for part in parts[1:]:
        shared = stop - part.start
        text += part.text[shared:] if shared >= 0 else f"\n{part.text}"
        stop = part.stop
    return replace(passage, text=text, start=parts[0].start, stop=stop)


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    count = max(len(words) - SHINGLE_WORDS + 1, 1)
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(count))


def _shared(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / max(min(len(one), len(other)), 1)
