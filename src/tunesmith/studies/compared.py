"""The state of a comparison: its runs so far, and what they show beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.runs.evaluation_files import REPORT
from tunesmith.runs.folder import RunFolder, read_lines
from tunesmith.runs.summary import RunSummary
from tunesmith.studies.ranks import RanksCompared, compare_ranks
from tunesmith.studies.selection import Selection, select


@dataclass(slots=True)
class ComparedRun:
    """One run of the comparison, with its row of the table."""

    name: str
    config: RunConfig
    folder: RunFolder
    trainable_parameters: int | None = None
    summary: RunSummary | None = None
    error: TunesmithError | None = None

    def to_json(self) -> dict[str, object]:
        """The documented keys; null where the run has not come that far."""
        ended = self.summary.to_json() if self.summary else {}
        kept = ("peak_bytes", "tokens_per_second", "train_loss", "eval_loss", "reason", "adapter")
        return {
            "name": self.name,
            "method": self.config.method.kind,
            "run": str(self.folder.path),
            "trainable_parameters": self.trainable_parameters,
            "adapter_bytes": _result_bytes(self.summary.adapter if self.summary else None),
            **{key: ended.get(key) for key in kept},
            **score_of(ended.get("evaluation"), TUNED),
            "verdict": _part(ended.get("evaluation"), "verdict").get("answer"),
            "error": None if self.error is None else str(self.error),
        }


@dataclass(slots=True)
class ComparisonState:
    """All runs, and the base's own score on the same rows."""

    out: Path
    rows: list[ComparedRun]
    losses: dict[str, Sequence[float]] = field(default_factory=dict)  # of training rows, by run
    ranks: tuple[RanksCompared, ...] = ()
    best: Selection | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether a run was stopped, or not begun, although nothing failed it."""
        ends = [row.summary.reason if row.summary else None for row in self.rows if not row.error]
        return any(reason in (None, "stopped") for reason in ends)

    def conclude(self) -> None:
        """Compare what has ended."""
        configs = [(row.name, row.config) for row in self.rows]
        self.ranks = tuple(compare_ranks(configs, self.losses))
        scores = _scores_of_same_rows([row for row in self.rows if row.summary])
        self.best = select(scores) if len(scores) > 1 else None

    def to_json(self) -> dict[str, object]:
        """The documented document."""
        found = [
            (row.config.model, row.summary.evaluation)
            for row in self.rows
            if row.summary and row.summary.evaluation
        ]
        first = found[0][1] if found else None
        bases = {model: score_of(evaluation, BASE) for model, evaluation in reversed(found)}
        base = score_of(first if len(bases) < 2 else None, BASE)  # of several none is that of all
        hosted = {name: score_of(first, name) for name in _part(first, "hosted")}
        return {
            "out": str(self.out),
            "runs": [row.to_json() for row in self.rows],
            "base": base,
            **({"bases": dict(reversed(bases.items()))} if len(bases) > 1 else {}),
            **({"hosted": hosted} if hosted else {}),
            "best": self.best.to_json() if self.best else None,
            "loss_against_rank": [each.to_json() for each in self.ranks],
            "report": str(self.out / REPORT),
        }


def _part(evaluation: object, name: str) -> Mapping[str, Any]:
    return evaluation.get(name) or {} if isinstance(evaluation, Mapping) else {}


def score_of(evaluation: object, arm: str) -> dict[str, object]:
    """Score and interval of an arm under the first check, which decides."""
    checks = _part(evaluation, "arms").get(arm, {}).get("checks", {})
    first: Mapping[str, object] = next(iter(checks.values()), {})
    return {key: first.get(key) for key in ("score", "low", "high")}


def _result_bytes(path: str | None) -> int | None:
    if path is None:
        return None
    return sum(file.stat().st_size for file in Path(path).glob("*.safetensors"))


def _scores_of_same_rows(rows: Sequence[ComparedRun]) -> dict[str, list[float]]:
    """What each run scored by its first check on the held-out rows that all of them were asked.

    Nothing where runs have other checks, or where fewer than two rows have a score in all.
    """
    found = {row.name: dict(_row_scores(row)) for row in rows}
    asked = [key for key in next(iter(found.values()), {}) if all(key in f for f in found.values())]
    if len(asked) < 2:
        return {}
    return {name: [scores[key] for key in asked] for name, scores in found.items()}


def _row_scores(row: ComparedRun) -> Iterator[tuple[tuple[object, ...], float]]:
    """The score of each row, by the check, the question's place and its text."""
    for line in read_lines(row.folder.answers):
        scores = _part(_part(line, "scores"), TUNED)
        for check, score in list(scores.items())[:1]:
            if score is not None:
                key = (line.get("file"), line.get("line"), line.get("question"))
                yield (check, *key, str(line.get("reference"))), float(score)
