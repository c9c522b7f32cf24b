"""A recommendation by measurement: an instruction and examples, then the candidates together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.config.methods import default_methods, needs_four_bit
from tunesmith.config.run import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import ConfigError, DataError, RunError
from tunesmith.core.numbers import bytes_text, percent
from tunesmith.core.progress import TOGETHER, Cancelled, Progress
from tunesmith.evaluation.evaluator import Evaluator
from tunesmith.evaluation.measures import KnownBase
from tunesmith.methods import table
from tunesmith.runs.result import open_for
from tunesmith.runs.rows import load_rows_for
from tunesmith.studies.compare import ProgressOf, compare_runs, silent
from tunesmith.studies.compared import ComparisonState
from tunesmith.studies.recommendation import (
    TRAINING,
    Advice,
    Decision,
    Situation,
    recommend,
    rules,
)
from tunesmith.studies.variants import Variant

TRAINING_SHARE = 0.6  # of the minutes; the others are for answers
UNMEASURED: dict[str, object] = {
    **{"forgetting": None, "consistency": None, "knowledge": None, "timed_rows": 0},
    "arms": {},  # a hosted model says nothing of what the base does untrained
}
INSTRUCTION = "goal.txt"


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """A candidate's score of the first check with its 95 % interval, and its size."""

    kind: str
    score: float
    low: float
    high: float
    adapter_bytes: int

    def text(self) -> str:
        """All of it, for people."""
        limits = f"{percent(self.low)} to {percent(self.high)}"
        return f"{self.kind}: {percent(self.score)} ({limits}), {bytes_text(self.adapter_bytes)}"


def probe(
    config: RunConfig,
    situation: Situation,
    out: Path,
    progress_of: ProgressOf = silent,
    *,
    minutes: float,
) -> Advice:
    """What the rules recommend once the base's own answers are known; then the method that measures
    best here, or the smallest that is no worse.

    Trains in ``out`` for about ``minutes``. Raises ConfigError without checks, DataError without
    held-out rows.
    """
    if not config.evaluate.checks:
        raise ConfigError(
            "A probe decides by a check, and the config has none.",
            remedy="`tunesmith init DATA` proposes some; or --evaluate.checks label.",
        )
    if not config.data.eval:
        raise DataError("A probe needs held-out rows.", remedy="Give --data.eval 0.2, or a file.")
    measured = replace(situation, scores=_untrained(config, out, progress_of(TOGETHER)))
    found = recommend(measured)
    kinds = candidates(measured)
    if found.method is None or found.way not in TRAINING or len(kinds) < 2:
        return found
    each = TRAINING_SHARE * minutes / len(kinds)
    variants = [Variant(kind, _of(config, kind, minutes=each)) for kind in kinds]
    compared = compare_runs(variants, out / "candidates", progress_of)
    if compared.is_stopped:
        raise Cancelled
    decision = decide(_scored(compared), out)
    return Advice((*found.decisions[:-1], decision), decision.answer)


def candidates(situation: Situation) -> list[str]:
    """The methods of the rules that fit here, adapters alone; a 4-bit base only in place of one in
    16-bit precision.
    """
    named = dict.fromkeys(str(rule["answer"]) for rule in rules()["methods"])
    fitting = [k for k in named if (plan := situation.plans.get(k)) is not None and plan.fits]
    adapters = [kind for kind in fitting if not table.METHODS[kind].trains_base]
    plain = [kind for kind in adapters if not needs_four_bit(kind)]
    return plain or adapters


def _untrained(
    config: RunConfig, out: Path, progress: Progress
) -> Mapping[str, tuple[float, float]]:
    """Score and lower limit of the first check, of the base, with the goal (or the config's own
    instruction) in front, and with examples.
    """
    changes: dict[str, object] = dict(UNMEASURED)
    if config.evaluate.baseline_prompt is None and config.goal:
        out.mkdir(parents=True, exist_ok=True)
        files.write_text(out / INSTRUCTION, config.goal)
        changes["baseline_prompt"] = str(out / INSTRUCTION)
    evaluate = config.evaluate.model_copy(update=changes)
    config = config.model_copy(update={"evaluate": evaluate})
    base = KnownBase(open_for(config, progress=progress))
    rows = load_rows_for(config, base.loaded, None, progress)
    found = Evaluator(base, config, rows, progress=progress).evaluate(None)
    if found is None:
        raise DataError("None of the held-out rows can be asked.")
    first = found.answers.summary.checks[0]
    return {arm: (each.mean, each.low) for arm, each in first.arms.items()}


def _of(config: RunConfig, kind: str, *, minutes: float) -> RunConfig:
    """A candidate: the config's own settings for its kind, else defaults, for so many minutes."""
    method = config.method if config.method.kind == kind else default_methods()[kind]
    train = {"minutes": minutes, "epochs": None, "steps": None}
    evaluate = {**UNMEASURED, "baseline_prompt": None, "num_fewshot": 0}
    return config.model_copy(
        update={
            "method": method,
            "train": config.train.model_copy(update=train),
            "evaluate": config.evaluate.model_copy(update=evaluate),
            "out": None,
        }
    )


def _scored(comparison: ComparisonState) -> list[ScoredCandidate]:
    found = []
    for row in (each.to_json() for each in comparison.rows):
        if isinstance(row["score"], float) and isinstance(row["adapter_bytes"], int):
            low, high = float(str(row["low"])), float(str(row["high"]))
            size = row["adapter_bytes"]
            found.append(ScoredCandidate(str(row["method"]), row["score"], low, high, size))
    if not found:
        why = next((str(row.error) for row in comparison.rows if row.error), "")
        raise RunError(f"No candidate could be measured: {why}", remedy="Give it more --minutes.")
    return found


def decide(scored: Sequence[ScoredCandidate], out: Path) -> Decision:
    """The smallest candidate whose score lies within the interval of the best one."""
    best = max(scored, key=lambda each: each.score)
    enough = [each for each in scored if each.score >= best.low]
    chosen = min(enough, key=lambda each: each.adapter_bytes)
    reason = "It measures best of those that were tried."
    if chosen is not best:
        reason = "It is the smallest that lies within the interval of the best one."
    ranked = sorted(scored, key=lambda each: -each.score)
    return Decision(
        "Which method, by measurement?",
        chosen.kind,
        reason,
        tuple(each.text() for each in ranked),
        None,
        str(out),
    )
