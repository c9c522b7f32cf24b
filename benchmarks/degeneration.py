"""Are degenerate answers found, and sound ones left alone? Limits chosen on one half of the runs.

    python -m benchmarks.degeneration_runs --data FOLDER --out RUNS   # the real fine-tunes, first
    python -m benchmarks.degeneration --data FOLDER --runs RUNS       # two minutes
    python -m benchmarks.degeneration --data FOLDER --runs RUNS --limits   # others than ours

Each half has `COUNT` clean and as many planted runs on tasks of its own, real ones first. Of those
it was read how many of the first 20 answers loop, copy the question or are one for all: `PLANTED`
make a planted run, up to `CLEAN` a clean one. Results are in degeneration.jsonl.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.degeneration_answers import (
    CHOOSING,
    JUDGING,
    AnsweredRun,
    Half,
    clean_runs,
    planted_runs,
)
from benchmarks.degeneration_runs import FINE_TUNES, READ
from tunesmith.evaluation import degeneration
from tunesmith.evaluation.degeneration import ANY, KINDS, Degeneration, assess_degeneration

COUNT = 20
CLEAN, PLANTED = 1, 4  # of 20 answers that were read
RESULTS = Path(__file__).with_suffix(".jsonl")
# What else was tried for each limit.
TRIED: Mapping[str, Sequence[float]] = {
    "GRAM": (8, 12, 16, 20),
    "REPEATED": (0.3, 0.4, 0.5, 0.6),
    "TAIL": (24, 36, 60),
    "COPIED": (0.6, 0.8, 0.9),
    "ASKED": (0.3, 0.5, 0.7),
    "ODDS": (2, 5, 10),
    "MARGIN": (0.0, 0.02, 0.05, 0.1),
}


def real_runs(folder: Path, half: Half) -> Iterator[AnsweredRun]:
    """Answers of fine-tunes and of the base to the same questions, as they were read."""
    for tune in FINE_TUNES:
        path = folder / tune.name / "run" / "answers.jsonl"
        if tune.is_judged != (half is JUDGING) or not path.exists():
            continue
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        questions, references = ([row[key] for row in rows] for key in ("question", "reference"))
        for arm in ("tuned", "base"):
            name = f"{tune.name}, {arm}"
            if name in READ and not CLEAN < READ[name] < PLANTED:
                answers = [row["answers"][arm] for row in rows]
                is_planted = READ[name] >= PLANTED
                yield AnsweredRun(name, is_planted, questions, references, answers)


def runs_of(half: Half, data: Path, folder: Path) -> list[AnsweredRun]:
    """`COUNT` clean and `COUNT` planted ones."""
    real = list(real_runs(folder, half))
    found = []
    for is_planted, make in ((False, clean_runs), (True, planted_runs)):
        kind = [run for run in real if run.planted == is_planted][:COUNT]
        found += [*kind, *make(half, data, COUNT - len(kind))]
    return found


def assessed(run: AnsweredRun) -> Degeneration:
    """The measure of a run's answers."""
    return assess_degeneration({"tuned": run.answers}, run.references, run.questions)


def line_of(half: str, run: AnsweredRun, found: Degeneration) -> dict[str, Any]:
    """What is kept of a run: no texts."""
    rates, own = found.arms["tuned"], found.references
    return {
        "half": half,
        "run": run.name,
        "planted": run.planted,
        "rows": len(run.answers),
        "found": list(found.found),
        "right": bool(found.found) == run.planted,
        "shares": {kind: round(rates[kind].mean, 3) for kind in (ANY, *KINDS)},
        "data": round(own[ANY].mean, 3),
        "low": round(found.differences["tuned"][ANY].low, 3),
        "distinct": dict(found.distinct),
    }


def counts(runs: Sequence[AnsweredRun]) -> str:
    """`20 of 20 found, 0 of 20 flagged`."""
    hits = Counter(run.planted for run in runs if assessed(run).found)
    return f"{hits[True]} of {COUNT} | {hits[False]} of {COUNT}"


def show_limits(runs: Sequence[AnsweredRun]) -> None:
    """A line for each other value of a limit, the rest as they are."""
    print("| limit | value | planted runs found | clean runs flagged |\n|---|---|---|---|")
    for name, values in TRIED.items():
        ours = getattr(degeneration, name)
        for value in values:
            setattr(degeneration, name, value)
            mark = "**" if value == ours else ""
            print(f"| {name} | {mark}{value:g}{mark} | {counts(runs)} |", flush=True)
        setattr(degeneration, name, ours)


def main() -> int:
    """Assess both halves, or try limits on the one that they were chosen on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--runs", type=Path, required=True, help="those of degeneration_runs")
    parser.add_argument("--limits", action="store_true", help="try other limits")
    given = parser.parse_args()
    if given.limits:
        show_limits(runs_of(CHOOSING, given.data, given.runs))
        return 0
    lines = [
        line_of(name, run, assessed(run))
        for name, half in (("choosing", CHOOSING), ("judging", JUDGING))
        for run in runs_of(half, given.data, given.runs)
    ]
    RESULTS.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    print("| half | runs | of them found | most degenerate answers |\n|---|---|---|---|")
    for half in ("choosing", "judging"):
        for is_planted in (True, False):
            those = [x for x in lines if x["half"] == half and x["planted"] == is_planted]
            hits = sum(bool(x["found"]) for x in those)
            most = max(x["shares"][ANY] for x in those)
            kind = "planted" if is_planted else "clean"
            print(f"| {half} | {len(those)} {kind} | {hits} | {most:.0%} |")
    for line in lines:
        if not line["right"]:
            print(json.dumps(line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
