"""Which passages and questions are held out, so that no passage is on both sides?"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.counts import many
from tunesmith.data.quality.clusters import Clusters, equal_pairs
from tunesmith.data.quality.near import NearTexts, near_pairs
from tunesmith.data.quality.text import bare, digest, fold
from tunesmith.data.split import Groups, choose_held
from tunesmith.errors import RagError
from tunesmith.rag.passage import Passage
from tunesmith.rag.questions import Known, Question


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What is held out: of N questions and of M passages, bool [N] and bool [M]."""

    questions: NDArray[np.bool_]
    passages: NDArray[np.bool_]


def choose_sides(
    passages: Sequence[Passage],
    asked: Sequence[tuple[Question, Known]],
    *,
    share: float,
    seed: int,
) -> Sides:
    """About ``share`` of the questions held out, with whole documents.

    On one side are passages of one file, passages that are nearly the same, and those that answer
    one question or questions of one ``group``. Raises RagError where that is everything.
    """
    first = _together(passages, asked)
    place = {passage.id: number for number, passage in enumerate(passages)}
    keys = np.array([digest(question.text) for question, _ in asked], dtype=np.uint64)
    number = np.array(
        [
            first[place[known.right[0].id]] if known.right else len(passages) + i
            for i, (_, known) in enumerate(asked)
        ],
        dtype=np.int64,
    )
    _keep_groups_(number, asked)
    if len(np.unique(number)) < 2:
        raise RagError(
            f"No question can be held out: {many(len(asked), 'question')} on one group of "
            "documents.",
            remedy="Add questions about other documents, or hold them together by less (--group).",
            code="split",
        )
    held = choose_held(Groups(number, keys, noun="document"), share=share, seed=seed)
    side = dict(zip(number.tolist(), held.tolist(), strict=True))
    return Sides(
        held,
        np.array(
            [side.get(each, _drawn(passages[each], share, seed)) for each in first.tolist()],
            dtype=bool,
        ),
    )


def _together(
    passages: Sequence[Passage], asked: Sequence[tuple[Question, Known]]
) -> NDArray[np.int64]:
    """The first of the passages that must be on one side with each, int64 [M]."""
    texts = NearTexts()
    for passage in passages:
        texts.add(bare(fold(passage.text)))
    prints = texts.fingerprints()
    clusters = Clusters(len(passages))
    sources = np.array([digest(passage.source) for passage in passages], dtype=np.uint64)
    clusters.join([equal_pairs(sources)])
    clusters.join(near_pairs(prints, second=prints.whole))
    place = {passage.id: number for number, passage in enumerate(passages)}
    groups: dict[object, list[int]] = defaultdict(list)
    for question, known in asked:
        right = [place[passage.id] for passage in known.right]
        groups["question", question.text.casefold()] += right
        if question.group is not None:
            groups["group", question.group] += right
    for members in groups.values():
        pairs = [(members[0], member) for member in members[1:]]
        clusters.join([np.array(pairs, dtype=np.int64).reshape(-1, 2)])
    return clusters.first()


def _keep_groups_(number: NDArray[np.int64], asked: Sequence[tuple[Question, Known]]) -> None:
    """Give questions that nothing answers the number of their group, or of the same question."""
    known_as: dict[object, int] = {}
    for answered in (True, False):
        for i, (question, known) in enumerate(asked):
            if bool(known.right) is not answered:
                continue
            names = [("question", question.text.casefold())]
            names += [("group", question.group)] if question.group is not None else []
            if not answered:
                number[i] = next((known_as[n] for n in names if n in known_as), number[i])
            for name in names:
                known_as.setdefault(name, int(number[i]))


def _drawn(passage: Passage, share: float, seed: int) -> bool:
    """The side of a document that nobody asked about."""
    return digest(f"{seed}", passage.source) / 2**64 < share
