"""`rag evaluate`: what retrieval finds, and what it and tuning add to the answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.adapters.loaded_base import open_with_adapters
from tunesmith.conversation.ask import sources_prompt
from tunesmith.conversation.cases import (
    Item,
    RetrievedCase,
    find_all,
    first_rank,
    items_of,
    prompts_with,
    prompts_without,
    retrieval_scores,
)
from tunesmith.conversation.chat import LONGEST_CHAT_TOKENS
from tunesmith.conversation.documents import open_documents
from tunesmith.core import files
from tunesmith.core.errors import RagError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.thinking import text_of
from tunesmith.evaluation.answering import answer_arms, fingerprint, open_cache
from tunesmith.evaluation.arms import Arm
from tunesmith.evaluation.retrieval_gain import CELLS, CellScores, SourcedCase, effects, score_cell
from tunesmith.generation.sampling import Sampling
from tunesmith.retrieval.confidence import fit_threshold, known_threshold
from tunesmith.retrieval.prompt import refusal_for
from tunesmith.retrieval.questions import RetrievalQuestion, missing_sources
from tunesmith.retrieval.retrieve import MODES, Mode, require_mode
from tunesmith.runs.locate import locate

RETRIEVED = "_rag"
CELL_NAMES = {
    "base": "the base without sources",
    "tuned": "the adapter without sources",
    "base_rag": "the base with sources",
    "tuned_rag": "the adapter with sources",
}
REPORT, DOCUMENT, ANSWERS = "report.html", "evaluation.json", "answers.jsonl"


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """How the questions are asked.

    A share ``removed`` of them is asked once more with what answers them taken out of the sources.
    ``threshold`` None: the one known for the store's model.
    """

    mode: Mode = "hybrid"
    sources: int = 5
    prompt_tokens: int = 2048
    max_new_tokens: int = 48
    removed: float = 0.3
    threshold: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise UsageError for another mode."""
        require_mode(self.mode)


@dataclass(frozen=True, slots=True)
class _Answered:
    """One cell's answers with what they are scored by."""

    cases: tuple[SourcedCase, ...]
    texts: tuple[str, ...]


def evaluate_retrieval(
    questions: Sequence[RetrievalQuestion],
    store: str,
    out: Path,
    *,
    participants: tuple[str | None, str | None] = (None, None),
    settings: TrialSettings | None = None,
    progress: Progress = SILENT,
) -> dict[str, object]:
    """The document of `rag evaluate --json`; it and all answers are written into ``out``.

    Its page is the caller's to write, as the file that the document names.

    ``participants`` are model and adapter; without an adapter there are no tuned cells. Answers are
    kept in the cache as they end: after a cancel, the next call resumes. Raises RagError where no
    question has an answer or ``out`` is a file or holds an evaluation already.
    """
    settings = settings or TrialSettings()
    if not any(question.answers for question in questions):
        raise RagError("No question has an answer to compare with.", remedy="Give some answers.")
    _require_place(out)
    loaded, embedder = open_documents(store, progress=progress)
    found = find_all(loaded, embedder, questions, limit=settings.sources, progress=progress)
    items = items_of(
        found,
        mode=settings.mode,
        limit=settings.sources,
        removed=settings.removed,
        seed=settings.seed,
    )
    answered = _answers(items, *participants, settings, progress)
    cells = {name: score_cell(each.cases, each.texts) for name, each in answered.items()}
    threshold = settings.threshold
    if threshold is None:
        threshold = known_threshold(loaded.settings.embedding)
    lost = missing_sources(loaded, questions)
    missed = [f.question for f in found if f.question.answers and not f.known.right]
    document = {
        "questions": len(questions),
        "unanswerable": sum(not item.answers for item in items),
        "no_passage": len(missed),
        "no_passage_lines": [question.line for question in missed if question.source not in lost],
        "no_source_lines": [question.line for question in missed if question.source in lost],
        "retrieval": {mode: retrieval_scores(found, mode) for mode in MODES},
        "cells": _cells_json(cells, _gated(items, answered, threshold), settings.seed),
        "threshold": threshold,
        "fitted_threshold": _fitted(items),
        "effects": effects(cells, seed=settings.seed),
        "report": str(out / REPORT),
    }
    _write(out, document, [_row(i, items, found, answered) for i in range(len(items))])
    return document


def _answers(
    items: Sequence[Item],
    model: str | None,
    adapter: str | None,
    settings: TrialSettings,
    progress: Progress,
) -> dict[str, _Answered]:
    """What the base and, where there is one, the adapter answer without and with sources."""
    located = locate(model, [adapter] if adapter else [])
    progress.phase(f"loading {located.model}")
    loaded, attached = open_with_adapters(
        located.model, located.adapters, four_bit=located.four_bit
    )
    who: dict[str, tuple[str | None, str]] = {"base": (None, fingerprint(loaded.base))}
    for name, one in attached.items():
        who["tuned"] = name, fingerprint(loaded.base, one, located.adapters[name])
    longest = max(loaded.engine.prefix_length(each) for each, _ in who.values())
    room = min(loaded.base.context, LONGEST_CHAT_TOKENS) - longest - settings.max_new_tokens
    sampling, stop_ids = Sampling(max_new_tokens=settings.max_new_tokens), loaded.base.stop_ids
    answered = {}
    for cell in (cell for cell in CELLS if cell.removesuffix(RETRIEVED) in who):
        speaker, participant = who[cell.removesuffix(RETRIEVED)]
        tokenizer = loaded.tokenizer(speaker)
        ask = sources_prompt(tokenizer, max_tokens=min(settings.prompt_tokens, room))
        put = prompts_with if cell.endswith(RETRIEVED) else prompts_without
        cases, prompts = zip(*put(items, ask, adapter=speaker, opening=cell), strict=True)
        said = answer_arms(
            loaded.engine,
            {cell: Arm(cell, prompts, loaded.engine.prefix_length(speaker))},
            {cell: open_cache(participant, sampling, stop_ids)},
            sampling=sampling,
            stop_ids=stop_ids,
            phase=progress.quiet_phase(f"answering: {CELL_NAMES[cell]}"),
        )
        texts = tuple(text_of(tokenizer, each.ids).strip() for each in said[cell])
        answered[cell] = _Answered(cases, texts)
    return answered


def _gated(
    items: Sequence[Item], answered: Mapping[str, _Answered], threshold: float | None
) -> dict[str, CellScores]:
    """The cells with retrieval as `rag ask` serves them: refused below the threshold."""
    if threshold is None:
        return {}
    return {
        name: score_cell(
            each.cases,
            [
                refusal_for(item.question.text)
                if item.confidence is not None and item.confidence < threshold
                else text
                for item, text in zip(items, each.texts, strict=True)
            ],
        )
        for name, each in answered.items()
        if name.endswith(RETRIEVED)
    }


def _fitted(items: Sequence[Item]) -> dict[str, float] | None:
    """The threshold that these questions give, and what it refuses of them; None without both."""
    right, without = (
        [
            item.confidence
            for item in items
            if item.confidence is not None and bool(item.answers) is answerable
        ]
        for answerable in (True, False)
    )
    return asdict(fit_threshold(right, without, decimals=2)) if right and without else None


def _cells_json(
    cells: Mapping[str, CellScores], gated: Mapping[str, CellScores], seed: int
) -> dict[str, object]:
    """Every cell by its name, None where there is no adapter."""
    return {
        name: {
            **cells[name].to_json(seed=seed),
            **({"with_threshold": gated[name].to_json(seed=seed)} if name in gated else {}),
        }
        if name in cells
        else None
        for name in CELLS
    }


def _row(
    i: int, items: Sequence[Item], found: Sequence[RetrievedCase], answered: Mapping[str, _Answered]
) -> dict[str, object]:
    """A line of answers.jsonl; what is asked once more (after ``found``) has no ranks."""
    item = items[i]
    shown = enumerate(item.hits, start=1)
    return {
        "line": item.question.line,
        "question": item.question.text,
        "answers": list(item.answers),
        "sources": [hit.passage.place for hit in item.hits],
        "right": [number for number, hit in shown if hit.passage.id in item.right],
        "ranks": {mode: first_rank(found[i], mode) for mode in MODES} if i < len(found) else None,
        "confidence": item.confidence,
        "said": {name: each.texts[i] for name, each in answered.items()},
    }


def _require_place(out: Path) -> None:
    """Raise RagError where an evaluation cannot be written, or one would be lost."""
    fault = None
    if out.exists() and not out.is_dir():
        fault = "is not a folder"
    elif (out / DOCUMENT).exists():
        fault = "holds an evaluation already"
    if fault is not None:
        raise RagError(f"{out} {fault}.", remedy="Name another with --out.", code="exists")


def _write(out: Path, document: Mapping[str, object], rows: Sequence[Mapping[str, object]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    files.write_text(out / ANSWERS, lines)
    files.write_json(out / DOCUMENT, document)
