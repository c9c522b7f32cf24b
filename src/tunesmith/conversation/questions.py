"""Questions with answers: read from a file, and split so that no passage is on both sides."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import DataError, RagError
from tunesmith.core.numbers import pluralize
from tunesmith.data.faults import Fault, RowReport, refuse
from tunesmith.data.formats.layout import shown
from tunesmith.data.quality.near import NearTexts, equal_pairs, near_pairs
from tunesmith.data.quality.text import bare, digest, fold
from tunesmith.data.records import read_records
from tunesmith.data.split import Clusters, Groups, choose_held
from tunesmith.retrieval.passage import Passage
from tunesmith.retrieval.questions import KnownPassages, RetrievalQuestion

# Ours, then what others call them; SQuAD's rows are read as they are.
NAMES = {
    "question": ("question", "query", "prompt", "instruction"),
    "answer": ("answers", "answer", "completion", "response", "output"),
    "source": ("source", "document", "file"),
    "context": ("context", "passage"),
}


def read_questions(
    file: str, *, columns: Mapping[str, str] | None = None, group: str | None = None
) -> list[RetrievalQuestion]:
    """Every question of a file; raises FaultyData with all faults, DataError where it is empty.

    ``columns`` maps our names to the file's. ``group`` is a column that holds questions together.
    A row with an empty answer (null, a text or a list) is a question that nothing answers; without
    any such column it is a fault.
    """
    mapped = {name: (columns[name],) for name in columns} if columns else {}
    if unknown := mapped.keys() - NAMES.keys():
        raise DataError(
            f"--data.map: {', '.join(sorted(unknown))} is not a column of questions.",
            remedy=f"There are {', '.join(NAMES)}.",
        )
    names = {**NAMES, **mapped, "group": (group,) if group else ()}
    report, found = RowReport(), []
    for record in read_records(file):
        if record.values is None:
            report.add_faults(filter(None, [record.fault(file)]))
            continue
        problem = _problem(record.values, names)
        if problem is not None:
            report.add_faults([problem.at(record.file or file, record.line)])
            continue
        found.append(_question(record.values, names, record.line))
    refuse(report.faults)
    if not found:
        raise DataError(f"{file} holds no questions.", remedy="Write some into it.")
    return found


Names = Mapping[str, tuple[str, ...]]


def _problem(row: Mapping[str, object], names: Names) -> Fault | None:
    for ours in ("question", "answer", "group"):
        if names[ours] and not any(name in row for name in names[ours]):
            name = ours if ours in names[ours] else names[ours][0]
            what = f'"{name}" is missing (found: {shown(row)}).'
            empty = ', empty ("") where nothing answers it' if ours == "answer" else ""
            remedy = f"Add it{empty}, or map it with --data.map {ours}=COLUMN."
            return Fault("missing_column", what, remedy)
    if not _text(row, names["question"]):
        return Fault("no_question", "the question is empty.", "Write one, or remove the row.")
    return None


def _question(row: Mapping[str, object], names: Names, line: int) -> RetrievalQuestion:
    answers = next((row[name] for name in names["answer"] if name in row), None)
    return RetrievalQuestion(
        text=_text(row, names["question"]) or "",
        answers=() if row.get("is_impossible") is True else tuple(_answers(answers)),
        source=_text(row, names["source"]),
        context=_text(row, names["context"]),
        group=_text(row, names["group"]),
        line=line,
    )


def _answers(value: object) -> Iterator[str]:
    """The texts of an answer, of a list of them, or of SQuAD's `{"text": [...]}`; each once."""
    if isinstance(value, Mapping):
        value = value.get("text")
    values = value if isinstance(value, list | tuple) else [value]
    texts = (each.get("text") if isinstance(each, Mapping) else each for each in values)
    yield from dict.fromkeys(str(text).strip() for text in texts if text not in (None, ""))


def _text(row: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    value = next((row[name] for name in names if name in row), None)
    return str(value).strip() or None if value is not None else None


def choose_sides(
    passages: Sequence[Passage],
    asked: Sequence[tuple[RetrievalQuestion, KnownPassages]],
    *,
    share: float,
    seed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """About ``share`` of the questions held out, with whole documents.

    Gives what is held out of N questions and of M passages, bool [N] and bool [M].

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
            f"No question can be held out: {pluralize(len(asked), 'question')} on one group of "
            "documents.",
            remedy="Add questions about other documents, or hold them together by less (--group).",
            code="split",
        )
    held, _ = choose_held(Groups(number, keys, noun="document"), share=share, seed=seed)
    side = dict(zip(number.tolist(), held.tolist(), strict=True))
    drawn = [side.get(each, _drawn(passages[each], share, seed)) for each in first.tolist()]
    return held, np.array(drawn, dtype=bool)


def _together(
    passages: Sequence[Passage], asked: Sequence[tuple[RetrievalQuestion, KnownPassages]]
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


def _keep_groups_(
    number: NDArray[np.int64], asked: Sequence[tuple[RetrievalQuestion, KnownPassages]]
) -> None:
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
