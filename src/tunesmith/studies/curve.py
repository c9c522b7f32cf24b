"""Would more data help? Adapters on growing shares of the rows, trained together, compared."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunesmith.adapters.loaded_base import attach_folder
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.numbers import percent, pluralize
from tunesmith.core.progress import TOGETHER, Cancelled, Progress
from tunesmith.data.dataset import RunRows
from tunesmith.evaluation.intervals import LEVEL, unbounded_interval
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.methods import table
from tunesmith.runs.inspect_data import open_tokenizer
from tunesmith.runs.model_choice import with_model
from tunesmith.runs.result import open_for
from tunesmith.runs.rows import load_rows, load_rows_for
from tunesmith.studies.compare import (
    ProgressOf,
    compare_runs,
    resume_comparison,
    silent,
)
from tunesmith.studies.compared import ComparedRun, ComparisonState
from tunesmith.studies.variants import Variant
from tunesmith.training.length import choose_length
from tunesmith.training.steps import total_steps

MATTERS = 0.01  # of the loss, for a doubling of the data
Answer = Literal["yes", "no", "cannot-tell"]


@dataclass(frozen=True, slots=True)
class Point:
    """Training rows, and the mean loss of each held-out row (nats per supervised token)."""

    rows: int
    losses: Sequence[float]

    @property
    def loss(self) -> float:
        """The mean over held-out rows."""
        return statistics.mean(self.losses)


@dataclass(frozen=True, slots=True)
class CurveVerdict:
    """Whether more rows would lower the loss.

    ``gain`` is the share of the loss that the last increase of rows took away, with its limits;
    ``next_gain`` what as large an increase again may take, going by how the gains shrank.
    """

    answer: Answer
    text: str
    gain: float
    low: float
    high: float
    next_gain: float | None


def assess_curve(points: Sequence[Point], *, seed: int, level: float = LEVEL) -> CurveVerdict:
    """Compare the two largest shares row by row.

    *yes*: the whole interval of the gain lies above ``MATTERS``; *no*: below. Raises ValueError for
    fewer than two points, or points of different held-out rows.
    """
    if len(points) < 2 or len({len(point.losses) for point in points}) > 1:
        raise ValueError("two shares or more are compared, over the same held-out rows")
    before, last = points[-2:]
    differences = [a - b for a, b in zip(before.losses, last.losses, strict=True)]
    interval = unbounded_interval(differences, seed=seed, level=level)
    limits = interval.low, interval.high
    gain, low, high = (each / before.loss for each in (statistics.mean(differences), *limits))
    fell = change = (
        f"from {before.rows:,} to {pluralize(last.rows, 'row')} the held-out loss fell by "
        f"{percent(gain, 1)} ({percent(low, 1)} to {percent(high, 1)})"
    )
    if gain < 0:
        change = (
            f"from {before.rows:,} to {pluralize(last.rows, 'row')} the held-out loss rose by "
            f"{percent(-gain, 1)} ({percent(-high, 1)} to {percent(-low, 1)})"
        )
    following = _next_gain(points, gain)
    answer: Answer
    if low > MATTERS:
        more = f" As many again may bring about {percent(following, 1)}." if following else ""
        answer, text = "yes", f"More data would help: {fell}.{more}"
    elif high < MATTERS:
        answer, text = "no", f"More data of this kind would hardly help: {change}."
    else:
        held = pluralize(len(last.losses), "held-out row")
        answer, text = (
            "cannot-tell",
            f"Cannot tell with {held}: {change}, and a fall of {percent(MATTERS)} lies within. "
            f"About {_wanted(len(last.losses), gain, (low, high)):,} would do.",
        )
    return CurveVerdict(answer, text, gain, low, high, following)


def _next_gain(points: Sequence[Point], gain: float) -> float | None:
    """The last gain, shrunk once more as it shrank against the one before."""
    if len(points) < 3 or gain <= 0:
        return None
    earlier = 1 - points[-2].loss / points[-3].loss
    return gain * min(1.0, gain / earlier) if earlier > 0 else gain


def _wanted(rows: int, gain: float, limits: tuple[float, float]) -> int:
    """Held-out rows with which the interval would end before ``MATTERS``, the gain being as it is.

    Its width shrinks with the square root of the rows; a gain that equals it is never decided.
    """
    half = (limits[1] - limits[0]) / 2
    distance = max(abs(gain - MATTERS), half / 10)
    return math.ceil(rows * max(1.0, half / distance) ** 2 / 10) * 10


SHARES = (0.125, 0.25, 0.5, 1.0)
HELD_OUT_LOSSES = 4  # in the course of a run
MIN_HELD = 2  # rows, between whose losses there is a spread
MISSES = 1  # a held-out loss above the best ends a run, and the best is its result


@dataclass(slots=True)
class LearningCurve:
    """The runs, what each lost on held-out rows, and the verdict."""

    comparison: ComparisonState
    points: list[Point]
    verdict: CurveVerdict

    def to_json(self) -> dict[str, object]:
        """The documented document."""
        runs = self.comparison.to_json()["runs"]
        assert isinstance(runs, list)
        points = [
            {"rows": point.rows, "loss": point.loss}
            | {key: run[key] for key in ("score", "low", "high", "run")}
            for point, run in zip(self.points, runs, strict=False)
        ]
        verdict = self.verdict
        gain = {"mean": verdict.gain, "low": verdict.low, "high": verdict.high}
        return {
            "out": str(self.comparison.out),
            "points": points,
            "gain": gain,
            "next_gain": verdict.next_gain,
            "verdict": {"answer": verdict.answer, "text": verdict.text},
        }


def learning_curve(
    config: RunConfig,
    out: Path,
    progress_of: ProgressOf = silent,
    *,
    shares: Sequence[float] = SHARES,
) -> LearningCurve:
    """Train an adapter on each share of the rows, all with the same steps, and compare.

    Smaller shares are parts of larger ones, the held-out rows are the same, and a run that gets
    worse on them ends with its best. Raises ConfigError for `full`, DataError without held-out
    rows, Cancelled with all that is needed to resume where that is asked for.
    """
    if table.of(config.method).trains_base:
        raise ConfigError(
            "A learning curve trains several small adapters over one base, and `full` has none.",
            remedy="Give --method lora.",
        )
    if config.train.minutes is not None:
        raise ConfigError(
            "All runs of a learning curve take the same steps, and train.minutes depends on each.",
            remedy="Give train.steps or train.epochs.",
        )
    config = with_model(config, progress=progress_of(TOGETHER))
    rows = _rows(config, progress_of(TOGETHER))
    if rows.held is None or len(rows.held) < MIN_HELD:
        raise DataError(
            f"A learning curve needs {pluralize(MIN_HELD, 'held-out row')} or more.",
            remedy="Give --data.eval 0.2, or a file.",
        )
    lengths = rows.train.lengths
    train = choose_length(
        config.train, lengths, method=config.method, has_held=True, copies=rows.copies
    ).settings
    steps = total_steps(lengths, train, copies=rows.copies)
    config = config.model_copy(update={"train": train})
    variants = [_variant(config, share, steps) for share in sorted(shares)]
    return _assessed(compare_runs(variants, out, progress_of), progress_of)


def resume_curve(out: Path, progress_of: ProgressOf = silent) -> LearningCurve:
    """Resume an interrupted curve; runs that are done stay as they are."""
    return _assessed(resume_comparison(out, progress_of), progress_of)


def _assessed(comparison: ComparisonState, progress_of: ProgressOf) -> LearningCurve:
    for row in comparison.rows:
        if row.error is not None:
            raise row.error
    if any(not row.summary or row.summary.reason == "stopped" for row in comparison.rows):
        raise Cancelled
    points = _points(comparison.rows, progress_of)
    verdict = assess_curve(points, seed=comparison.rows[0].config.train.seed)
    return LearningCurve(comparison, points, verdict)


def _rows(config: RunConfig, progress: Progress) -> RunRows:
    progress.phase("reading the data")
    loaded = open_tokenizer(
        config.model,
        trust_remote_code=config.trust_remote_code,
        options=config.data.template_options,
    )
    seed = config.train.seed
    return load_rows(config.data, loaded.tokenizer, context=loaded.context, seed=seed)


def _variant(config: RunConfig, share: float, steps: int) -> Variant:
    train = config.train.model_copy(
        update={
            "steps": steps,
            "epochs": None,
            "minutes": None,
            "evaluate_steps": max(1, steps // HELD_OUT_LOSSES),
            "patience": MISSES,
            "average_steps": 0,
            "answer_rows": 0,
            "best_by": "loss",
        }
    )
    data = config.data.model_copy(update={"share": share * config.data.share})
    return Variant(f"share-{share:g}", config.model_copy(update={"train": train, "data": data}))


def _points(rows: Sequence[ComparedRun], progress_of: ProgressOf) -> list[Point]:
    """What each saved adapter loses on each held-out row."""
    loaded = open_for(rows[0].config, progress=progress_of(TOGETHER))
    points = []
    for row in rows:
        assert row.summary is not None
        attach_folder(loaded, Path(str(row.summary.adapter)), name=row.name)
        found = load_rows_for(row.config, loaded, row.name)
        assert found.held is not None
        phase = progress_of(row.name).phase("losses on held-out rows", len(found.held))
        losses = losses_of_rows(loaded, found.held, adapter=row.name, phase=phase)
        points.append(Point(len(found.train), losses))
    return points
