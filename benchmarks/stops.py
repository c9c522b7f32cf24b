"""How soon a run ends that is stopped at a random moment of its evaluation, and what it loses.

    python -m benchmarks.stops --out DIR [--stops 10] [--seed 0]

A few steps of `tunesmith train` on the demo's rows with an evaluation: once unbroken, and once
stopped by SIGINT and SIGTERM by turns, and resumed each time. Prints a JSON line: for each stop the
seconds until the process had ended, its exit code and what it said last, and whether the scores are
those of the unbroken run.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WHOLE, BROKEN = "whole", "broken"
EVALUATING = ("scoring ", "answering ")  # how lines of an evaluation's progress begin
# A few steps, and a short evaluation: answers, likelihoods of texts, questions of probes.
SETTINGS = {
    "train.steps": "2",
    "evaluate.checks": "json",
    "evaluate.rows": "8",
    "evaluate.num_fewshot": "0",
    "evaluate.max_new_tokens": "24",
    "evaluate.timed_rows": "2",
    "evaluate.consistency": "none",
    "evaluate.knowledge": "none",
    "evaluate.forgetting.probes": "copa,instructions",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the runs")
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    draw = random.Random(given.seed)
    start = time.perf_counter()
    _end(_started(given.out, WHOLE, resumed=False))
    whole = time.perf_counter() - start
    stops = []
    for number in range(given.stops):
        run = _started(given.out, BROKEN, resumed=number > 0)
        stops.append(_stopped(run, SIGNALS[number % 2], after=draw.uniform(0, whole / 10)))
    _end(_started(given.out, BROKEN, resumed=given.stops > 0))
    scores = [_scores(given.out / name) for name in (WHOLE, BROKEN)]
    result = {"seconds": whole, "stops": stops, "same_scores": scores[0] == scores[1]}
    print(json.dumps(result), flush=True)


def _started(out: Path, name: str, *, resumed: bool) -> "subprocess.Popen[str]":
    """The run's process; what it says comes line by line."""
    rows = Path(str(files("tunesmith.setup") / "demo_data"))
    new = ["--data", rows / "train.jsonl", "--data.eval", rows / "held.jsonl", "--out", out / name]
    settings = [word for key, value in SETTINGS.items() for word in (f"--{key}", value)]
    words = ["--resume", out / name] if resumed else [*new, *settings]
    command = [sys.executable, "-m", "tunesmith.cli.main", "train", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def _stopped(
    run: "subprocess.Popen[str]", number: signal.Signals, *, after: float
) -> dict[str, Any]:
    """Send a signal so many seconds after the evaluation began, and wait for the end."""
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith(EVALUATING):
            break
    time.sleep(after)
    sent = time.perf_counter()
    run.send_signal(number)
    said = run.stderr.read().splitlines()
    status = run.wait()
    seconds = time.perf_counter() - sent
    return {"seconds": seconds, "exit": status, "after": after, "said": said[-3:]}


def _end(run: "subprocess.Popen[str]") -> None:
    _, said = run.communicate()
    if run.returncode:
        sys.exit(f"A run failed:\n{said}")


def _scores(run: Path) -> Sequence[object]:
    """What was scored, without the times."""
    found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    checks = {name: arm["checks"] for name, arm in found["arms"].items()}
    return [checks, found["forgetting"], found["verdict"]]


if __name__ == "__main__":
    main()
