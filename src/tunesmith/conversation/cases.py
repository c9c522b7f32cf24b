"""What a store finds for questions, and the prompts that are made of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from tunesmith.conversation.ask import SourcesPrompt
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.evaluation.retrieval_gain import SourcedCase
from tunesmith.generation.decoder import Prompt
from tunesmith.retrieval.confidence import SCORED_HITS, confidence
from tunesmith.retrieval.questions import KnownPassages, RetrievalQuestion, know, says_nothing
from tunesmith.retrieval.retrieve import (
    MODES,
    Hit,
    Mode,
    SearchOptions,
    retrieve,
    without_duplicates,
)
from tunesmith.retrieval.scores import ndcg_at, recall_at, reciprocal_rank
from tunesmith.retrieval.store import EmbeddingModel, PassageStore

TEXTS_AT_ONCE = 128
RANKED = 10  # passages that are scored
RIGHT = "right"
BRIEFLY = "Answer the question in a few words."


@dataclass(frozen=True, slots=True)
class RetrievedCase:
    """A question with what each retriever found, and what the store knows of it."""

    question: RetrievalQuestion
    known: KnownPassages
    hits: dict[Mode, list[Hit]]


@dataclass(frozen=True, slots=True)
class Item:
    """What is asked once: with answers, or (without any) where nothing shown may answer."""

    question: RetrievalQuestion
    answers: tuple[str, ...]
    hits: tuple[Hit, ...]
    right: frozenset[str]  # ids of passages
    confidence: float | None


class Remembered:
    """An embedder that embedded its questions together, and reports how far it was."""

    def __init__(self, inner: EmbeddingModel, texts: Sequence[str], progress: Progress) -> None:
        self.folder: Path = inner.folder
        self._inner = inner
        self._known: dict[str, NDArray[np.float32]] = {}
        phase = progress.quiet_phase("embedding the questions", len(texts))
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            phase.at(start)
            some = texts[start : start + TEXTS_AT_ONCE]
            self._known |= zip(some, inner.embed(some, as_query=True), strict=True)

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> NDArray[np.float32]:
        """[n, D], as the embedder gives them."""
        if as_query and all(text in self._known for text in texts):
            return np.stack([self._known[text] for text in texts])
        return self._inner.embed(texts, as_query=as_query)


def find_all(
    store: PassageStore,
    embedder: EmbeddingModel,
    questions: Sequence[RetrievalQuestion],
    *,
    limit: int,
    progress: Progress = SILENT,
) -> list[RetrievedCase]:
    """The hits of every retriever for every question."""
    remembered = Remembered(embedder, [question.text for question in questions], progress)
    count = max(limit, RANKED)
    found = []
    for question in progress.quiet_phase("retrieving", len(questions)).over(questions):
        hits = {
            m: retrieve(store, remembered, question.text, SearchOptions(count, m)) for m in MODES
        }
        found.append(RetrievedCase(question, know(store, remembered, question), hits))
    return found


def retrieval_scores(found: Sequence[RetrievedCase], mode: Mode) -> dict[str, float | None]:
    """Means over the questions with answers; None without any.

    Found is a question at the rank of the first passage that answers it, so that documents that
    contain it twice do not count twice; a question without such a passage in the store is missed.
    """
    rankings = [_ranking(each, mode) for each in found if each.question.answers]
    means = {
        "recall_at_1": [recall_at(1, each, {RIGHT}) for each in rankings],
        "recall_at_5": [recall_at(5, each, {RIGHT}) for each in rankings],
        "mrr": [reciprocal_rank(each[:RANKED], {RIGHT}) for each in rankings],
        "ndcg_at_10": [ndcg_at(10, each, {RIGHT}) for each in rankings],
    }
    return {name: fmean(values) if values else None for name, values in means.items()}


def first_rank(found: RetrievedCase, mode: Mode) -> int | None:
    """The rank from 1 of the first passage that answers; None where none was found."""
    ranking = _ranking(found, mode)
    return ranking.index(RIGHT) + 1 if RIGHT in ranking else None


def _ranking(found: RetrievedCase, mode: Mode) -> list[str]:
    right = {passage.id for passage in found.known.right}
    ids = (hit.passage.id for hit in found.hits[mode])
    return list(dict.fromkeys(RIGHT if each in right else each for each in ids))


def items_of(
    found: Sequence[RetrievedCase], *, mode: Mode, limit: int, removed: float, seed: int
) -> list[Item]:
    """What is asked: every question with its hits, then a share ``removed`` of those with answers
    once more, without any passage that answers.
    """
    items = [
        _item(each.question, each.question.answers, each.hits[mode], each.known, limit)
        for each in found
    ]
    with_answers = [each for each in found if each.known.right]
    drawn = Random(f"{seed} removed").sample(
        range(len(with_answers)), round(removed * len(with_answers))
    )
    return items + [_removed(with_answers[i], limit) for i in sorted(drawn)]


def _removed(found: RetrievedCase, limit: int) -> Item:
    question, known = found.question, found.known
    left = [h for h in known.hits if says_nothing(h.passage, known, question.answers)]
    return _item(question, (), without_duplicates(left, max(limit, SCORED_HITS)), known, limit)


def _item(
    question: RetrievalQuestion,
    answers: tuple[str, ...],
    hits: Sequence[Hit],
    known: KnownPassages,
    limit: int,
) -> Item:
    """With the first ``limit`` of the hits; the confidence is that of more, as in `rag ask`."""
    right = frozenset(passage.id for passage in known.right)
    return Item(question, answers, tuple(hits[:limit]), right, confidence(question.text, hits))


def prompts_with(
    items: Sequence[Item], ask: SourcesPrompt, *, adapter: str | None, opening: str
) -> Iterator[tuple[SourcedCase, Prompt]]:
    """Each item as it is asked with sources, and what its answer is scored by.

    Raises RagError where a question and its best source do not fit a prompt.
    """
    for item in items:
        passages = [(hit.passage.place, hit.passage.text) for hit in item.hits]
        prompt = ask(item.question.text, passages)
        right = frozenset(
            source.number
            for source, hit in zip(prompt.sources, item.hits, strict=False)
            if item.answers and hit.passage.id in item.right
        )
        ids = render_prompt(ask.tokenizer, ask.messages(prompt), chat_format=ask.format)
        case = SourcedCase(item.answers, prompt.sources, right)
        yield case, Prompt(tuple(ids), adapter, opening=opening)


def prompts_without(
    items: Sequence[Item], ask: SourcesPrompt, *, adapter: str | None, opening: str
) -> Iterator[tuple[SourcedCase, Prompt]]:
    """Each item as it is asked without sources."""
    for item in items:
        turns = [Message("system", BRIEFLY), Message("user", item.question.text)]
        if not ask.format.keeps_system:
            turns = [Message("user", f"{BRIEFLY}\n\n{item.question.text}")]
        ids = render_prompt(ask.tokenizer, turns, chat_format=ask.format)
        yield SourcedCase(item.answers), Prompt(tuple(ids), adapter, opening=opening)
