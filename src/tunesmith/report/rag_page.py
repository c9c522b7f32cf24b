"""What did retrieval add, what did tuning add, and what both? One HTML file that loads nothing."""

from collections.abc import Iterator, Mapping, Sequence

from tunesmith.core.language import DEFAULT
from tunesmith.core.numbers import DASH, NO_BREAK, percent
from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.findings import text_in
from tunesmith.report.page import PHRASES, change_text, page
from tunesmith.report.plot import Plot, interval_svg, listed, score_bar
from tunesmith.runs.history import Document

COLOURS = {"base": "base", "tuned": "examples", "base_rag": "prompted", "tuned_rag": "tuned"}
SCORES = (
    *("exact_match", "f1", "refusal", "false_refusal", "refused_shown"),
    *("citation_precision", "faithfulness"),
)
MEASURES = ("recall_at_1", "recall_at_5", "mrr", "ndcg_at_10")


def rag_page(document: Mapping[str, object], *, name: str, language: str = DEFAULT) -> str:
    """The page of what `rag evaluate --json` prints."""
    words, found = Phrases(PHRASES, language), dict(document)
    return page(
        "rag.html.jinja",
        words,
        title=words.phrase("rag.page-title", name=name),
        findings=[text_in(each, language) for each in _part(found, "effects").values()],
        plots=list(_plots(found, words)),
        tables=list(_tables(found, words)),
        notes=list(_notes(found, words)),
    )


def _notes(found: Document, words: Phrases) -> Iterator[str]:
    yield words.phrase(
        "rag.note",
        questions=f"{found['questions']:,}",
        unanswerable=f"{found['unanswerable']:,}",
        missing=f"{found['no_passage']:,}",
    )
    fitted = found["fitted_threshold"]
    if fitted is not None:
        yield words.phrase(
            "rag.fitted",
            score=f"{fitted['score']:.2f}",
            refusals=percent(fitted["refusals"]),
            false=percent(fitted["false_refusals"]),
        )


def _part(found: Document, name: str) -> dict[str, Document]:
    """What is there of the document's cells, retrievers or effects."""
    return {key: each for key, each in found[name].items() if each is not None}


def _plots(found: Document, words: Phrases) -> Iterator[Plot]:
    bars = [
        score_bar(words.phrase(f"rag.cell.{name}"), cell, COLOURS[name], key="f1")
        for name, cell in _part(found, "cells").items()
    ]
    yield Plot(
        name="cells",
        title=words.phrase("rag.f1"),
        svg=interval_svg("cells", bars, axis=words.phrase("arms.axis")),
        alt=words.phrase("rag.alt", list=listed(bars)),
    )


Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""A title, a header, and rows that begin with their name."""


def _tables(found: Document, words: Phrases) -> Iterator[Table]:
    cells, effects = _part(found, "cells"), _part(found, "effects")
    named = [(words.phrase(f"rag.cell.{name}"), cell) for name, cell in cells.items()]
    served = [
        (words.phrase("rag.served", cell=name), cell["with_threshold"])
        for name, cell in named
        if "with_threshold" in cell
    ]
    yield (
        words.phrase("rag.cells"),
        [words.phrase("column.arm"), *(words.phrase(f"rag.score.{name}") for name in SCORES)],
        [(name, *(_limits(cell, score) for score in SCORES)) for name, cell in named + served],
    )
    yield (
        words.phrase("rag.effects"),
        [words.phrase("rag.effect"), *(words.phrase(f"rag.score.{name}") for name in SCORES[:2])],
        [
            (
                words.phrase(f"rag.added.{name}"),
                *(change_text(effect[score]) for score in SCORES[:2]),
            )
            for name, effect in effects.items()
        ],
    )
    yield (
        words.phrase("rag.retrieval"),
        [
            words.phrase("rag.retriever"),
            *(words.phrase(f"rag.measure.{name}") for name in MEASURES),
        ],
        [
            (mode, *(f"{scores[name]:.3f}" for name in MEASURES))
            for mode, scores in _part(found, "retrieval").items()
        ],
    )


def _limits(cell: Document, score: str) -> str:
    found = cell["intervals"].get(score)
    if found is None:
        return DASH
    mean, low, high = (percent(found[k]).replace(" ", NO_BREAK) for k in ("mean", "low", "high"))
    return f"{mean} ({low}{NO_BREAK}{DASH} {high})"
