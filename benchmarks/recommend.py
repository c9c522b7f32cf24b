"""Is the recommended method as good as the best one, at no more than its cost?

    python -m benchmarks.recommend --data DIR --out DIR [--tasks tone ...] [--seeds 0 1 2]
    python -m benchmarks.recommend --data DIR --runs RUNS.jsonl [RUNS.jsonl ...]

Six situations that run here: a goal in words, rows of a task of `benchmarks/methods/tasks.py`, and
what `ts.recommend` says. Every method is then trained on the same rows by
`benchmarks.methods.measure` (or its RUNS.jsonl of earlier runs is read), and the recommended one is
compared with the one of the highest mean score over the seeds, of those that were trained with as
many: does it lie within its interval, and has it no more trainable parameters?
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.methods.tasks import TASKS, write
from tunesmith.evaluation.intervals import mean_interval

GOALS = {
    "classification": "Classify the message by its intent",
    "sentiment": "한국어 영화평이 긍정인지 부정인지 답해요",
    "english-reviews": "Tell the sentiment of a film review, in a tiny adapter",
    "summary": "Summarize an abstract in one sentence",
    "tone": "공손한 말투로 답해요",
    "banking": "Route a message to the bank's team that answers it",
}
NAMES = {"prompt": "prompt-100"}  # under which a method was measured, where that is another


def main() -> None:
    """Recommend, measure what is missing, and print a line for each situation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("recommend"))
    parser.add_argument("--tasks", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--runs", type=Path, nargs="+", help="were measured; none is made")
    given = parser.parse_args()
    runs = given.runs or [given.out / "runs.jsonl"]
    if given.runs is None:
        places = ["--data", str(given.data), "--out", str(given.out)]
        command = [sys.executable, "-m", "benchmarks.methods.measure", *places]
        words = ["--tasks", *given.tasks, "--seeds", *given.seeds]
        subprocess.run([*command, *words], check=True)
    texts = [file.read_text(encoding="utf-8") for file in runs]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    for name in given.tasks:
        print(json.dumps(judged(name, given, lines), ensure_ascii=False), flush=True)


def judged(name: str, given: argparse.Namespace, lines: list[dict[str, Any]]) -> dict[str, object]:
    """What is recommended for a task, and how it did beside the best."""
    task = TASKS[name]
    rows, held = write(task, given.data, given.out / "rows" / name)
    said = ts.recommend(
        {
            "data": {"train": str(rows), "eval": str(held)},
            "evaluate": {"checks": [task.check]},
        },
        goal=GOALS[name],
        progress=False,
    ).to_json()
    scores: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for line in lines:
        if line["task"] == name and not line.get("point") and line["scores"].get("tuned"):
            scores.setdefault(line["name"], []).extend(line["scores"]["tuned"])
            sizes[line["name"]] = line["trainable_parameters"]
    found: dict[str, object] = {"task": name, "goal": GOALS[name], "way": said["way"]}
    found |= {"method": said["method"], "reason": said["reason"], "evidence": said["evidence"]}
    own = NAMES.get(str(said["method"]), str(said["method"]))
    if not scores or own not in scores:
        return {**found, "measured": None}
    most = max(map(len, scores.values()))
    scores = {name: each for name, each in scores.items() if len(each) == most}
    if own not in scores:
        return {**found, "measured": None}
    best = max(scores, key=lambda each: statistics.mean(scores[each]))
    limits, mean = mean_interval(scores[best], seed=0), statistics.mean(scores[own])
    return {
        **found,
        "score": mean,
        "best": best,
        "best_score": limits.mean,
        "best_low": limits.low,
        "is_within": mean >= limits.low,
        "is_no_larger": sizes[own] <= sizes[best],
    }


if __name__ == "__main__":
    main()
