"""What did retrieval add to answers, what did tuning add, and what both?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.findings import Finding, finding_text, in_languages
from tunesmith.evaluation.intervals import Interval, mean_interval, paired_difference
from tunesmith.retrieval.prompt import CitedSource, check_citations
from tunesmith.retrieval.scores import citation_precision, exact_match, f1, faithfulness, refuses

CELLS = ("base", "tuned", "base_rag", "tuned_rag")
# What is compared: the cell with what is added, the cell without it.
EFFECTS = {
    "retrieval": ("base_rag", "base"),
    "tuning": ("tuned", "base"),
    "both": ("tuned_rag", "base"),
    "retrieval_over_tuning": ("tuned_rag", "tuned"),
    "tuning_over_retrieval": ("tuned_rag", "base_rag"),
}


@dataclass(frozen=True, slots=True)
class SourcedCase:
    """A question's right answers (without any, it must be refused), the sources that were shown,
    and the numbers of those that answer it.
    """

    answers: tuple[str, ...]
    sources: tuple[CitedSource, ...] = ()
    right: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class CellScores:
    """Scores of one cell's answers, each 0..1: of answerable questions, of the others, and of
    citations, where there are any. ``refused_shown`` are the answerable ones with a source that
    answers: where retrieval missed it, a refusal is not the model's fault.
    """

    exact_match: tuple[float, ...]
    f1: tuple[float, ...]
    refusal: tuple[float, ...]
    false_refusal: tuple[float, ...]
    refused_shown: tuple[float, ...]
    citation_precision: tuple[float, ...]
    faithfulness: tuple[float, ...]

    def to_json(self, *, seed: int) -> dict[str, object]:
        """Means, the limits of F1, and every mean with its limits under ``intervals``.

        Without a question of its kind a mean is None.
        """
        scores: dict[str, tuple[float, ...]] = {
            name: getattr(self, name) for name in CellScores.__slots__
        }
        intervals = {
            name: mean_interval(each, seed=seed) if each else None for name, each in scores.items()
        }
        means = {name: each.mean if each else None for name, each in intervals.items()}
        of_f1 = intervals["f1"]
        return {
            **means,
            "low": of_f1.low if of_f1 else None,
            "high": of_f1.high if of_f1 else None,
            "intervals": {name: i.to_json() for name, i in intervals.items() if i},
        }


def score_cell(cases: Sequence[SourcedCase], answers: Sequence[str]) -> CellScores:
    """One cell's answers to all cases, in their order.

    Faithfulness is of what answers without a refusal to questions with sources; precision of what
    cites.
    """
    both = list(zip(cases, answers, strict=True))
    answerable = [(case, answer) for case, answer in both if case.answers]
    cited = [
        (case, answer, check_citations(answer, case.sources))
        for case, answer in both
        if case.sources and not refuses(answer)
    ]
    precision = (citation_precision(found, case.right) for case, _, found in cited)
    return CellScores(
        exact_match=tuple(exact_match(answer, case.answers) for case, answer in answerable),
        f1=tuple(f1(answer, case.answers) for case, answer in answerable),
        refusal=tuple(float(refuses(answer)) for case, answer in both if not case.answers),
        false_refusal=tuple(float(refuses(answer)) for _, answer in answerable),
        refused_shown=tuple(float(refuses(answer)) for case, answer in answerable if case.right),
        citation_precision=tuple(share for share in precision if share is not None),
        faithfulness=tuple(
            faithfulness(answer, case.sources, found.cited) for case, answer, found in cited
        ),
    )


def effects(cells: Mapping[str, CellScores], *, seed: int) -> dict[str, dict[str, object]]:
    """Each difference of two cells that are there, on the same questions, with its interval."""
    found: dict[str, dict[str, object]] = {}
    for name, (more, less) in EFFECTS.items():
        if more not in cells or less not in cells or not cells[more].f1:
            continue
        of_f1 = paired_difference(cells[more].f1, cells[less].f1, seed=seed)
        exact = paired_difference(cells[more].exact_match, cells[less].exact_match, seed=seed)
        found[name] = {
            "f1": of_f1.to_json(),
            "exact_match": exact.to_json(),
            **_described(name, of_f1, fmean(cells[more].f1)),
        }
    return found


def _described(name: str, found: Interval, now: float) -> dict[str, object]:
    kind = "more" if found.low > 0 else "less" if found.high < 0 else "cannot-tell"
    values = {
        "mean_points": found.mean,
        "low_points": found.low,
        "high_points": found.high,
        "now_share": now,
    }

    def describe(words: Phrases) -> str:
        what = words.phrase(f"retrieval.what.{name}")
        return finding_text("retrieval", Finding(kind, {**values, "what": what}), words)

    return in_languages(describe)
