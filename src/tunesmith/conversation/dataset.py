"""Rows that teach a model to answer from sources, made from questions and a store.

As in RAFT (arXiv 2403.10131), the model learns to use and cite what answers, to leave distractors
alone, and to decline where nothing answers. The prompt is the one of serving.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path
from typing import Literal

from tunesmith.conversation.ask import SourcesPrompt, sources_prompt
from tunesmith.conversation.cases import Remembered
from tunesmith.conversation.documents import open_documents
from tunesmith.conversation.questions import choose_sides
from tunesmith.core import files
from tunesmith.core.errors import RagError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.models.load import read_tokenizer
from tunesmith.models.resolve import resolve
from tunesmith.retrieval.passage import Passage
from tunesmith.retrieval.prompt import CITATION, CUT_MARK, RagPrompt, sanitize
from tunesmith.retrieval.questions import (
    KnownPassages,
    RetrievalQuestion,
    know,
    missing_sources,
    says_nothing,
)
from tunesmith.retrieval.retrieve import alike

Kind = Literal["right", "distractors", "unanswerable"]
KINDS: tuple[Kind, ...] = ("right", "distractors", "unanswerable")
TRIES = 20  # passages that are drawn for each place among the sources
Ask = Callable[[str, Sequence[tuple[str, str]]], RagPrompt]
"""The prompt of a question with (place, text) of its passages; RagError where none fits."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the questions: with the right passage alone, among distractors, with distractors alone."""

    right: float = 0.2
    distractors: float = 0.5
    unanswerable: float = 0.3

    def __post_init__(self) -> None:
        """Raise RagError for shares that are none."""
        shares = (self.right, self.distractors, self.unanswerable)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise RagError(
                f"The shares {' + '.join(f'{share:g}' for share in shares)} do not sum to 1.",
                remedy="Give --right, --distractors and --unanswerable as shares of the rows.",
                code="shares",
            )


@dataclass(frozen=True, slots=True)
class SourcedExample:
    """A training row; ``passages`` are those in its prompt, ``right`` the number to be cited."""

    kind: Kind
    prompt: RagPrompt
    answer: str
    passages: tuple[Passage, ...]
    right: int | None = None


def deal(count: int, shares: Shares, *, seed: int) -> list[Kind]:
    """A kind for each of ``count`` questions, in the shares to the nearest row, shuffled."""
    ends = [round(count * end) for end in accumulate((shares.right, shares.distractors, 1.0))]
    ends[-1] = count
    starts = [0, *ends]
    kinds = [kind for kind, a, b in zip(KINDS, starts, ends, strict=False) for _ in range(a, b)]
    random.Random(f"{seed} kinds").shuffle(kinds)
    return kinds


def draw_distractors(
    question: RetrievalQuestion,
    known: KnownPassages,
    others: Sequence[Passage],
    *,
    count: int,
    rng: random.Random,
) -> list[Passage]:
    """Passages that do not answer: the best hits among ``others``, then any of these.

    None of them has an answer, is nearly a right passage, or nearly one drawn before.
    """
    allowed = {passage.id for passage in others}
    hits = (hit.passage for hit in known.hits if hit.passage.id in allowed)
    found: list[Passage] = []
    for passage in chain(hits, _drawn(others, TRIES * count, rng)):
        if len(found) == count:
            break
        repeats = any(alike(passage.text, each.text) for each in found)
        if not repeats and says_nothing(passage, known, question.answers):
            found.append(passage)
    return found


def _drawn(passages: Sequence[Passage], limit: int, rng: random.Random) -> Iterator[Passage]:
    yield from rng.sample(passages, min(limit, len(passages)))


def compose(
    question: RetrievalQuestion,
    right: Passage | None,
    distractors: Sequence[Passage],
    *,
    ask: Ask,
    rng: random.Random,
) -> SourcedExample | None:
    """The row of a question with these sources, the right one (if any) at a place that is drawn.

    Distractors that leave no room for all of the right passage go, the last ones first; None where
    it does not fit even alone.
    """
    shown = list(distractors)
    if right is not None:
        shown.insert(rng.randrange(len(shown) + 1), right)
    while True:
        prompt = _asked(question, shown, ask)
        place = None if right is None else shown.index(right)
        if prompt is not None and (place is None or _is_whole(prompt, place)):
            break
        last = next((i for i in reversed(range(len(shown))) if i != place), None)
        if last is None:
            return None
        del shown[last]
    passages = tuple(shown[: len(prompt.sources)])
    if place is None:
        return SourcedExample("unanswerable", prompt, prompt.refusal, passages)
    kind: Kind = "distractors" if len(passages) > 1 else "right"
    answer = f"{CITATION.sub('', question.answers[0]).strip()} [{place + 1}]"
    return SourcedExample(kind, prompt, answer, passages, place + 1)


def _asked(question: RetrievalQuestion, shown: Sequence[Passage], ask: Ask) -> RagPrompt | None:
    try:
        return ask(question.text, [(passage.place, passage.text) for passage in shown])
    except RagError:
        return None


def _is_whole(prompt: RagPrompt, place: int) -> bool:
    return len(prompt.sources) > place and not prompt.sources[place].text.endswith(CUT_MARK)


TRAIN, EVAL, QUESTIONS = "train.jsonl", "eval.jsonl", "questions.jsonl"


@dataclass(frozen=True, slots=True)
class DatasetSettings:
    """``held`` is the share of questions held out, ``sources`` the most in a prompt."""

    shares: Shares = field(default_factory=Shares)
    sources: int = 5
    held: float = 0.1
    prompt_tokens: int = 2048
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RagRows:
    """What was written: rows of each kind on each side, and lines of the questions left out."""

    out: Path
    rows: Mapping[str, Mapping[Kind, int]]
    left_out: Mapping[str, Sequence[int]]

    def to_json(self) -> dict[str, object]:
        """What `rag dataset --json` prints."""
        sides = {
            name: {"file": str(self.out / file), "rows": sum(kinds.values()), **kinds}
            for (name, kinds), file in zip(self.rows.items(), (TRAIN, EVAL), strict=True)
        }
        left_out = {name: list(lines) for name, lines in self.left_out.items()}
        return {**sides, "questions": str(self.out / QUESTIONS), "left_out": left_out}


def make_dataset(
    questions: Sequence[RetrievalQuestion],
    store: str,
    out: Path,
    *,
    model: str,
    settings: DatasetSettings | None = None,
    progress: Progress = SILENT,
) -> RagRows:
    """Write train.jsonl and eval.jsonl (chat rows) and questions.jsonl (those held out).

    The same questions, store and settings give the same bytes. Raises RagError where ``out`` is
    taken, no question has its passage in the store, or all belong to one group of documents. A
    cancel writes nothing.
    """
    settings = settings or DatasetSettings()
    require_free(out)
    tokenizer = read_tokenizer(resolve(model, progress=progress), trust_remote_code=False)
    ask = sources_prompt(tokenizer, max_tokens=settings.prompt_tokens)
    loaded, embedder = open_documents(store, progress=progress)
    remembered = Remembered(embedder, [question.text for question in questions], progress)
    phase = progress.quiet_phase("looking for the passages that answer", len(questions))
    every = [(question, know(loaded, remembered, question)) for question in phase.over(questions)]
    asked = [(q, known) for q, known in every if known.right or not q.answers]
    lost = missing_sources(loaded, questions)
    missed = [q for q, known in every if q.answers and not known.right]
    left_out = {
        "no_passage": [q.line for q in missed if q.source not in lost],
        "no_source": [q.line for q in missed if q.source in lost],
    }
    if not asked:
        raise RagError(
            "The store has no passage for any of the questions.",
            remedy="Name the passage in a column `source` or `context`, or index its document.",
            code="no_passage",
        )
    passages = loaded.passages()
    held_asked, held_passages = choose_sides(
        passages, asked, share=settings.held, seed=settings.seed
    )
    made = []
    for held in (False, True):
        own = [each for each, out_ in zip(asked, held_asked, strict=True) if out_ == held]
        others = [p for p, out_ in zip(passages, held_passages, strict=True) if out_ == held]
        made.append(list(_examples(own, others, ask, settings)))
    left_out["too_long"] = [q.line for side in made for q, row in side if row is None]
    rows = [[row for _, row in side if row is not None] for side in made]
    held_questions = [q for q, row in made[1] if row is not None]
    _write(out, rows, held_questions, ask)
    return RagRows(out, dict(zip(("train", "eval"), map(_counted, rows), strict=True)), left_out)


def _examples(
    asked: Sequence[tuple[RetrievalQuestion, KnownPassages]],
    others: Sequence[Passage],
    ask: SourcesPrompt,
    settings: DatasetSettings,
) -> Iterator[tuple[RetrievalQuestion, SourcedExample | None]]:
    """A row for each question of a side, from passages of that side alone."""
    answered = sum(bool(known.right) for _, known in asked)
    kinds = iter(deal(answered, settings.shares, seed=settings.seed))
    for question, known in asked:
        kind: Kind = next(kinds) if known.right else "unanswerable"
        rng = random.Random(f"{settings.seed} {question.text}")
        counts = {"right": 0, "distractors": settings.sources - 1}
        distractors = draw_distractors(
            question, known, others, count=counts.get(kind, settings.sources), rng=rng
        )
        right = None if kind == "unanswerable" else known.right[0]
        yield question, compose(question, right, distractors, ask=ask, rng=rng)


def _counted(rows: Sequence[SourcedExample]) -> dict[Kind, int]:
    counts = Counter(row.kind for row in rows)
    return {kind: counts[kind] for kind in KINDS}


def _write(
    out: Path,
    sides: Sequence[Sequence[SourcedExample]],
    questions: Sequence[RetrievalQuestion],
    ask: SourcesPrompt,
) -> None:
    """All three files, or none."""

    def fill(folder: Path) -> None:
        for name, rows in zip((TRAIN, EVAL), sides, strict=True):
            _write_lines(folder / name, (_chat(row, ask) for row in rows))
        _write_lines(folder / QUESTIONS, map(_question, questions))

    if out.is_dir():
        out.rmdir()  # it is empty
    try:
        files.replace_folder(out, fill)
    except OSError as error:
        remedy = "Name another folder with --out."
        raise RagError(f"{out} cannot be written: {error.strerror}.", remedy=remedy) from None


def _write_lines(file: Path, rows: Iterator[Mapping[str, object]]) -> None:
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    file.write_text(text, encoding="utf-8")


def _chat(row: SourcedExample, ask: SourcesPrompt) -> dict[str, object]:
    turns = [{"role": m.role, "content": m.content} for m in ask.messages(row.prompt)]
    answer = sanitize(row.answer, ask.format.control)
    return {"messages": [*turns, {"role": "assistant", "content": answer}]}


def _question(question: RetrievalQuestion) -> dict[str, object]:
    known = {"source": question.source, "context": question.context}
    places = {name: value for name, value in known.items() if value is not None}
    return {"question": question.text, "answers": list(question.answers), **places}


def require_free(out: Path) -> None:
    """Raise RagError where there is something at ``out``, RunError for the working folder."""
    files.require_replaceable(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RagError(
            f"{out}: exists already, and is not overwritten.",
            remedy="Name another folder with --out, or remove this one.",
            code="exists",
        )
