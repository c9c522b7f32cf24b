"""How often is "kept" or "lost" elsewhere wrong? Simulated evaluations whose truth is known.

    python -m benchmarks.forgetting_calibration [--repeats 400]

The probes have the sizes of the bundled ones, with both looks. Answers change both ways, so that
``changed`` of the rows differ where nothing is lost: 0.06 of the questions is what runs with
retention show, 0.17 those without (benchmarks/methods/results/retention.jsonl), and 0.2 of the
prompts. Passages rise by a log-perplexity that varies by 0.04 from one to another.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.verdict_calibration import RESAMPLES
from tunesmith.evaluation import intervals
from tunesmith.evaluation.comparison import TUNED, summarize
from tunesmith.evaluation.forgetting import Forgetting, Margins, assess_forgetting
from tunesmith.evaluation.forgetting_probes import (
    FIRST,
    PlainText,
    ProbeAnswers,
    ProbeMeasure,
    compare_answers,
    with_all_questions,
)
from tunesmith.evaluation.forgetting_prompts import compare_passed, with_all_prompts
from tunesmith.evaluation.verdict import decide

QUESTIONS: Mapping[str, tuple[int, float]] = {  # rows, and the share that the base gets right
    "arc_easy": (700, 0.5),
    "piqa": (700, 0.67),
    "copa": (100, 0.65),
}
PROMPTS: Mapping[str, tuple[int, float]] = {
    "instructions": (120, 0.6),
    "refusals": (80, 0.8),
    "benign": (80, 0.9),
    "tools": (70, 0.6),
    "no_tools": (60, 0.95),
    "korean": (80, 0.8),
    "spanish": (80, 0.8),
    "free_answers": (80, 0.95),
}
PASSAGES, TOKENS, SPREAD = 60, 100, 0.04
MARGINS: Margins = {"accuracy": 0.03, "perplexity": 0.05, "passed": 0.1}
HELD = 200  # rows of the first check


@dataclass(frozen=True, slots=True)
class Truth:
    """What is lost of each probe (a share, or nats of the text), and what is counted how often."""

    name: str
    counted: str  # kept, lost, or yes of the whole verdict
    bound: float
    at_most: bool
    lost: Mapping[str, float] = field(default_factory=dict)
    changed: float = 0.06
    gain: float = 0.1
    has_prompts: bool = False


def everything(names: Sequence[str], loss: float) -> dict[str, float]:
    """The same loss in each."""
    return dict.fromkeys(names, loss)


def truths() -> Iterator[Truth]:
    """What the table has."""
    for changed in (0.06, 0.17):
        yield Truth(f"nothing lost, {changed:.0%} change", "lost", 0.05, True, changed=changed)
        at = everything([*QUESTIONS], 0.03)
        yield Truth(f"questions -3, {changed:.0%} change", "kept", 0.05, True, at, changed)
        twice = everything([*QUESTIONS], 0.06)
        yield Truth(f"questions -6, {changed:.0%} change", "lost", 0.85, False, twice, changed)
    at_text, twice_text = ({"text": math.log1p(rise)} for rise in (0.05, 0.10))
    yield Truth("text +5 %", "kept", 0.05, True, at_text)
    yield Truth("text +10 %", "lost", 0.85, False, twice_text)
    yield Truth("prompts, nothing lost", "lost", 0.05, True, has_prompts=True)
    at = everything([*PROMPTS], 0.1)
    yield Truth("prompts -10", "kept", 0.05, True, at, has_prompts=True)
    yield Truth("prompts -20", "lost", 0.85, False, everything([*PROMPTS], 0.2), has_prompts=True)
    for name in ("refusals", "no_tools"):
        yield Truth(f"{name} alone -40", "lost", 0.85, False, {name: 0.4}, has_prompts=True)
    yield Truth("no gain, nothing lost", "yes", 0.05, True, gain=0.0)
    yield Truth("+10 points, text +5 %", "yes", 0.05, True, at_text)
    yield Truth("+10 points, questions -3", "yes", 0.05, True, everything([*QUESTIONS], 0.03))


def rows_of(
    rng: np.random.Generator, rows: int, right: float, loss: float, changed: float
) -> tuple[list[int], list[int]]:
    """Right or not in both arms; ``loss`` of the rows more are lost than gained."""
    base = rng.random(rows) < right
    lost = min(1.0, (changed / 2 + loss) / right)
    gained = min(1.0, changed / 2 / (1 - right))
    flips = rng.random(rows)
    tuned = np.where(base, flips >= lost, flips < gained)
    return base.astype(int).tolist(), tuned.astype(int).tolist()


def simulated(truth: Truth, rng: np.random.Generator, seed: int) -> tuple[Forgetting, bool]:
    """One measurement of all probes, and whether it took a second look."""
    asked = {
        name: rows_of(rng, rows, right, truth.lost.get(name, 0.0), truth.changed)
        for name, (rows, right) in QUESTIONS.items()
    }
    rest = list(others(truth, rng, seed))
    first = assessed([*questions(asked, FIRST, seed), *rest], seed)
    if not first.needs_more:
        return first, False
    return assessed([*questions(asked, None, seed), *rest], seed), True


def questions(
    asked: Mapping[str, tuple[list[int], list[int]]], first: int | None, seed: int
) -> Iterator[ProbeMeasure]:
    """The probes of questions, of each the first rows or all."""
    for name, arms in asked.items():
        base, tuned = (ProbeAnswers(tuple(arm[:first]), tuple(arm[:first])) for arm in arms)
        looks = 2 if QUESTIONS[name][0] > FIRST else 1
        yield replace(compare_answers(name, base, tuned, seed=seed), looks=looks)


def others(truth: Truth, rng: np.random.Generator, seed: int) -> Iterator[ProbeMeasure]:
    """The text, and the probes of prompts."""
    rises = truth.lost.get("text", 0.0) + SPREAD * rng.standard_normal(PASSAGES)
    before = [np.full(TOKENS, -3.0, np.float32) for _ in rises]
    after = [logs - np.float32(rise) for logs, rise in zip(before, rises, strict=True)]
    text = PlainText("text", ("a b",) * PASSAGES)
    yield text.measured(before, after, seed=seed)
    if truth.has_prompts:
        for name, (rows, right) in PROMPTS.items():
            arms = rows_of(rng, rows, right, truth.lost.get(name, 0.0), min(0.2, 1.8 * (1 - right)))
            passed = tuple([bool(x) for x in arm] for arm in arms)
            yield compare_passed(name, (passed[0], passed[1]), seed=seed, details={})


def assessed(measured: Sequence[ProbeMeasure], seed: int) -> Forgetting:
    """All against their margins, as a run has it."""
    whole = with_all_prompts(with_all_questions(measured, seed=seed), seed=seed)
    return assess_forgetting(whole, MARGINS)


def shares(truth: Truth, *, repeats: int) -> tuple[float, float]:
    """How often simulated evaluations end as the truth counts, and take a second look."""
    hits, again = 0, 0
    for repeat in range(repeats):
        rng = np.random.default_rng([7, repeat])
        forgetting, is_second = simulated(truth, rng, repeat)
        again += is_second
        base, tuned = rows_of(rng, HELD, 0.5, -truth.gain, 0.4)
        summary = summarize({"check": {"base": base, TUNED: tuned}}, seed=repeat)
        verdict = decide(summary, forgetting=forgetting)
        hits += truth.counted in (verdict.answer, verdict.elsewhere)
    return hits / repeats, again / repeats


def main() -> None:
    """Print the table."""
    intervals.RESAMPLES = RESAMPLES
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    print("| truth | counted | found | asked for | holds | second look |")
    print("|---|---|---|---|---|---|")
    for truth in truths():
        found, again = shares(truth, repeats=repeats)
        error = 2 * math.sqrt(truth.bound * (1 - truth.bound) / repeats)
        is_good = found <= truth.bound + error if truth.at_most else found >= truth.bound - error
        sign = "at most" if truth.at_most else "at least"
        words = "yes" if is_good else "**no**"
        row = (
            f"| {truth.name} | {truth.counted} | {found:.1%} | {sign} {truth.bound:.0%} | {words} |"
        )
        print(f"{row} {again:.0%} |", flush=True)


if __name__ == "__main__":
    main()
