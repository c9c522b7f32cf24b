"""`rag evaluate`: what retrieval finds, and what it and tuning add to the answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith import files
from tunesmith.counts import many
from tunesmith.errors import RagError
from tunesmith.evaluate.sourced import CELLS, Case, Cell, effects, score_cell
from tunesmith.models.cache import Emit, ignore
from tunesmith.rag.prompt import refusal_for
from tunesmith.rag.questions import Question
from tunesmith.rag.retrieve import Mode
from tunesmith.rag.threshold import known_threshold
from tunesmith.report.rag_page import rag_page
from tunesmith.workflows.answering import answers_now
from tunesmith.workflows.arms import Arm
from tunesmith.workflows.ask import open_documents
from tunesmith.workflows.chat import LONGEST_CHAT_TOKENS
from tunesmith.workflows.locate import locate
from tunesmith.workflows.opening import Opened, attach_folder, open_base
from tunesmith.workflows.rag_cases import (
    MODES,
    Item,
    find_all,
    items_of,
    prompts_with,
    prompts_without,
    retrieval_scores,
)
from tunesmith.workflows.sources_prompt import sources_prompt

RETRIEVED = "_rag"
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


@dataclass(frozen=True, slots=True)
class _Answered:
    """One cell's answers with what they are judged by."""

    cases: tuple[Case, ...]
    texts: tuple[str, ...]


def evaluate_retrieval(
    questions: Sequence[Question],
    store: str,
    out: Path,
    *,
    voices: tuple[str | None, str | None] = (None, None),
    settings: TrialSettings | None = None,
    emit: Emit = ignore,
) -> dict[str, object]:
    """The document of `rag evaluate --json`; it, a page and all answers are written into ``out``.

    ``voices`` are model and adapter; without an adapter there are no tuned cells. Raises RagError
    where no question has an answer.
    """
    settings = settings or TrialSettings()
    if not any(question.answers for question in questions):
        raise RagError("No question has an answer to compare with.", remedy="Give some answers.")
    opened, embedder = open_documents(store, emit=emit)
    emit(f"retrieving for {many(len(questions), 'question')} ...")
    found = find_all(opened, embedder, questions, limit=settings.sources)
    items = items_of(
        found,
        mode=settings.mode,
        limit=settings.sources,
        removed=settings.removed,
        seed=settings.seed,
    )
    answered = _answers(items, *voices, settings, emit)
    cells = {name: score_cell(each.cases, each.texts) for name, each in answered.items()}
    threshold = settings.threshold
    if threshold is None:
        threshold = known_threshold(opened.settings.embedding)
    document = {
        "questions": len(questions),
        "unanswerable": sum(not item.answers for item in items),
        "no_passage": sum(bool(f.question.answers) and not f.known.right for f in found),
        "retrieval": {mode: retrieval_scores(found, mode) for mode in MODES},
        "cells": _cells_json(cells, _gated(items, answered, threshold), settings.seed),
        "threshold": threshold,
        "effects": effects(cells, seed=settings.seed),
        "report": str(out / REPORT),
    }
    _write(out, document, items, answered)
    return document


def _answers(
    items: Sequence[Item],
    model: str | None,
    adapter: str | None,
    settings: TrialSettings,
    emit: Emit,
) -> dict[str, _Answered]:
    """What the base and, where there is one, the adapter answer without and with sources."""
    located = locate(model, [adapter] if adapter else [])
    emit(f"loading {located.model} ...")
    opened = open_base(located.model, four_bit=located.four_bit)
    voices: dict[str, str | None] = {"base": None}
    for name, voice in located.voices.items():
        if voice is not None:
            attach_folder(opened, located.adapters[name], name=name)
            voices["tuned"] = voice
    longest = max(opened.engine.prefix_length(voice) for voice in voices.values())
    room = min(opened.base.context, LONGEST_CHAT_TOKENS) - longest - settings.max_new_tokens
    most = min(settings.prompt_tokens, room)
    return {
        cell: _cell(cell, items, opened, voices[name], (most, settings.max_new_tokens), emit)
        for cell in CELLS
        if (name := cell.removesuffix(RETRIEVED)) in voices
    }


def _cell(
    name: str,
    items: Sequence[Item],
    opened: Opened,
    voice: str | None,
    tokens: tuple[int, int],
    emit: Emit,
) -> _Answered:
    """One cell's answers, with prompts and answers of at most so many ``tokens``."""
    most, new = tokens
    ask = sources_prompt(opened.tokenizer(voice), most_tokens=most)
    put = prompts_with if name.endswith(RETRIEVED) else prompts_without
    cases, prompts = zip(*put(items, ask, adapter=voice, opening=name), strict=True)
    emit(f"{name}: {many(len(prompts), 'answer')} ...")
    arm = Arm(name, prompts, opened.engine.prefix_length(voice))
    texts = answers_now(opened, arm, voice, most=new, go_on=lambda _done, _total: True)
    assert texts is not None  # it is never told to stop
    return _Answered(cases, tuple(text.strip() for text in texts))


def _gated(
    items: Sequence[Item], answered: Mapping[str, _Answered], threshold: float | None
) -> dict[str, Cell]:
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


def _cells_json(
    cells: Mapping[str, Cell], gated: Mapping[str, Cell], seed: int
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


def _write(
    out: Path,
    document: Mapping[str, object],
    items: Sequence[Item],
    answered: Mapping[str, _Answered],
) -> None:
    rows = (
        {
            "question": item.question.text,
            "answers": list(item.answers),
            "sources": [hit.passage.place for hit in item.hits],
            "said": {name: each.texts[i] for name, each in answered.items()},
        }
        for i, item in enumerate(items)
    )
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    files.write_text(out / ANSWERS, lines)
    files.write_json(out / DOCUMENT, document)
    files.write_text(out / REPORT, rag_page(document, name=out.resolve().name))
