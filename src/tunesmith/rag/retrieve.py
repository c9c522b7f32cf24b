"""Which passages answer a question: by meaning, by words, or by both, and why these."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.rag.embedding import Embedder
from tunesmith.rag.passage import Filter, Passage
from tunesmith.rag.store import Match, Store

RRF_K = 60  # of the paper; on XQuAD 1 to 60 differ by less than a point
SHINGLE_WORDS = 3
DUPLICATE_SHARE = 0.8

Mode = Literal["hybrid", "dense", "text"]
Reranker = Callable[[str, Sequence[str]], Sequence[float]]
"""A cross-encoder: a question and n texts -> n scores, the best the highest."""


@dataclass(frozen=True, slots=True)
class Search:
    """How to look; ``candidates`` of each retriever are fused, ``limit`` come back."""

    limit: int = 5
    mode: Mode = "hybrid"
    candidates: int = 50
    where: Filter = field(default_factory=Filter)
    keep_duplicates: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one retriever said of a passage: its rank from 1, and its score."""

    rank: int
    score: float


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
    store: Store,
    embedder: Embedder,
    question: str,
    search: Search | None = None,
    *,
    rerank: Reranker | None = None,
) -> list[Hit]:
    """The passages for a question, best first, near duplicates of better ones left out.

    With ``mode`` text the model is not asked, and no hit has a cosine.
    """
    search = search or Search()
    where = search.where.sql
    vector = None if search.mode == "text" else embedder.embed([question], as_query=True)[0]
    count = max(search.candidates, search.limit)
    words = None if search.mode == "dense" else question
    dense, text = store.search(vector, words, count, where)
    hits = fuse(dense, text, vector)
    if rerank is not None and hits:
        scores = rerank(question, [hit.passage.text for hit in hits])
        hits = [replace(h, score=s, rerank=s) for h, s in zip(hits, scores, strict=True)]
        hits.sort(key=lambda hit: -hit.score)
    kept = hits if search.keep_duplicates else without_duplicates(hits, search.limit)
    return kept[: search.limit]


def fuse(
    dense: Sequence[Match], text: Sequence[Match], vector: NDArray[np.float32] | None = None
) -> list[Hit]:
    """Reciprocal rank fusion: score = sum over retrievers of 1 / (k + rank), k = 60.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual
    Rank Learning Methods" (SIGIR 2009). Where two are equal (first by meaning and second by words,
    and the other way round), the one comes first whose scores are nearer to the best of each
    retriever. ``vector`` [D] is the question's, of length 1.
    """
    hits: dict[str, Hit] = {}
    nearness: dict[str, float] = {}
    for name, matches in (("dense", dense), ("text", text)):
        best = matches[0].score if matches else 0.0
        for rank, match in enumerate(matches, start=1):
            key = match.passage.id
            cosine = None if vector is None else float(match.vector @ vector)
            hit = hits.get(key) or Hit(match.passage, 0.0, cosine)
            ranked = {name: Ranked(rank, match.score)}
            score = hit.score + 1 / (RRF_K + rank)
            hits[key] = replace(hit, score=score, **ranked)  # type: ignore[arg-type]
            nearness[key] = nearness.get(key, 0.0) + (match.score / best if best > 0 else 0.0)
    return sorted(
        hits.values(),
        # Rounded: a sum must not depend on its order.
        key=lambda hit: (-round(hit.score, 12), -nearness[hit.passage.id]),
    )


def without_duplicates(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first ``limit`` hits, each unlike those before it.

    Alike are texts of which the shorter one shares four fifths of its word triples.
    """
    kept: list[Hit] = []
    seen: list[frozenset[tuple[str, ...]]] = []
    for hit in hits:
        if len(kept) == limit:
            break
        shingles = _shingles(hit.passage.text)
        if not any(_shared(shingles, other) >= DUPLICATE_SHARE for other in seen):
            kept.append(hit)
            seen.append(shingles)
    return kept


def alike(text: str, other: str) -> bool:
    """Whether one of them says nearly nothing that the other does not, by the same measure."""
    return _shared(_shingles(text), _shingles(other)) >= DUPLICATE_SHARE


def with_neighbours(store: Store, passage: Passage, count: int) -> Passage:
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
    words = re.findall(r"\w+", text.lower())
    count = max(len(words) - SHINGLE_WORDS + 1, 1)
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(count))


def _shared(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / max(min(len(one), len(other)), 1)
