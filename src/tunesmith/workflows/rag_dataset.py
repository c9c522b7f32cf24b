"""`rag dataset`: questions with answers as rows that train a model to answer from sources."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith import files
from tunesmith.errors import RagError
from tunesmith.models.load import read_tokenizer
from tunesmith.models.resolve import resolve
from tunesmith.rag.passage import Passage
from tunesmith.rag.prompt import harmless
from tunesmith.rag.questions import Known, Question, know, missing_sources
from tunesmith.rag.training import KINDS, Example, Kind, Shares, compose, deal, draw_distractors
from tunesmith.train.events import Progress
from tunesmith.workflows.ask import open_documents
from tunesmith.workflows.course import QUIET, Clock, Course
from tunesmith.workflows.rag_cases import Remembered
from tunesmith.workflows.rag_sides import choose_sides
from tunesmith.workflows.sources_prompt import SourcesPrompt, sources_prompt

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
class Dataset:
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
    questions: Sequence[Question],
    store: str,
    out: Path,
    *,
    model: str,
    settings: DatasetSettings | None = None,
    course: Course = QUIET,
) -> Dataset:
    """Write train.jsonl and eval.jsonl (chat rows) and questions.jsonl (those held out).

    The same questions, store and settings give the same bytes. Raises RagError where ``out`` is
    taken, no question has its passage in the store, or all belong to one group of documents, and
    KeyboardInterrupt where the course stops: nothing is written then.
    """
    settings = settings or DatasetSettings()
    require_free(out)
    clock = Clock(course)

    def emit(text: str) -> None:
        course.emit(Progress(text))

    tokenizer = read_tokenizer(resolve(model, emit=emit), trust_remote_code=False)
    ask = sources_prompt(tokenizer, most_tokens=settings.prompt_tokens)
    opened, embedder = open_documents(store, emit=emit)
    remembered = Remembered(embedder, [question.text for question in questions], clock)
    every = []
    for done, question in enumerate(questions):
        clock.at("looking for the passages that answer", done, len(questions))
        every.append((question, know(opened, remembered, question)))
    asked = [(q, known) for q, known in every if known.right or not q.answers]
    lost = missing_sources(opened, questions)
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
    passages = opened.passages()
    sides = choose_sides(passages, asked, share=settings.held, seed=settings.seed)
    made = []
    for held in (False, True):
        own = [each for each, out_ in zip(asked, sides.questions, strict=True) if out_ == held]
        others = [p for p, out_ in zip(passages, sides.passages, strict=True) if out_ == held]
        made.append(list(_examples(own, others, ask, settings)))
    left_out["too_long"] = [q.line for side in made for q, row in side if row is None]
    rows = [[row for _, row in side if row is not None] for side in made]
    held_questions = [q for q, row in made[1] if row is not None]
    _write(out, rows, held_questions, ask)
    return Dataset(out, dict(zip(("train", "eval"), map(_counted, rows), strict=True)), left_out)


def _examples(
    asked: Sequence[tuple[Question, Known]],
    others: Sequence[Passage],
    ask: SourcesPrompt,
    settings: DatasetSettings,
) -> Iterator[tuple[Question, Example | None]]:
    """A row for each question of a side, from passages of that side alone."""
    answered = sum(bool(known.right) for _, known in asked)
    kinds = iter(deal(answered, settings.shares, seed=settings.seed))
    for question, known in asked:
        kind: Kind = next(kinds) if known.right else "none"
        rng = random.Random(f"{settings.seed} {question.text}")
        count = {"right": 0, "distractors": settings.sources - 1, "none": settings.sources}[kind]
        distractors = draw_distractors(question, known, others, count=count, rng=rng)
        right = None if kind == "none" else known.right[0]
        yield question, compose(question, right, distractors, ask=ask, rng=rng)


def _counted(rows: Sequence[Example]) -> dict[Kind, int]:
    counts = Counter(row.kind for row in rows)
    return {kind: counts[kind] for kind in KINDS}


def _write(
    out: Path,
    sides: Sequence[Sequence[Example]],
    questions: Sequence[Question],
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


def _chat(row: Example, ask: SourcesPrompt) -> dict[str, object]:
    turns = [{"role": m.role, "content": m.content} for m in ask.messages(row.prompt)]
    answer = harmless(row.answer, ask.format.control)
    return {"messages": [*turns, {"role": "assistant", "content": answer}]}


def _question(question: Question) -> dict[str, object]:
    known = {"source": question.source, "context": question.context}
    places = {name: value for name, value in known.items() if value is not None}
    return {"question": question.text, "answers": list(question.answers), **places}


def require_free(out: Path) -> None:
    """Raise RagError where there is something at ``out``."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RagError(
            f"{out}: exists already, and is not overwritten.",
            remedy="Name another folder with --out, or remove this one.",
            code="exists",
        )
