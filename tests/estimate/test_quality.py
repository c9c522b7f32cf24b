"""What a plan says of a method's quality is what was measured."""

import json
from importlib.resources import files
from pathlib import Path
from statistics import mean

import yaml

from tunesmith.config.methods import DEFAULT_VIRTUAL_TOKENS
from tunesmith.estimate.plan import quality_of

RUNS = Path(__file__).parents[2] / "benchmarks" / "methods" / "results" / "runs.jsonl"
NAMES = {f"prompt-{DEFAULT_VIRTUAL_TOKENS}": "prompt"}  # under which the default was measured


def test_the_points_beside_full_are_those_of_the_runs():
    kept = yaml.safe_load((files("tunesmith.estimate") / "quality.yaml").read_text())
    scores = {}
    for line in map(json.loads, RUNS.read_text().splitlines()):
        if not line.get("point") and line["scores"].get("tuned"):
            name = NAMES.get(line["name"], line["name"])
            scores.setdefault((name, line["task"]), []).extend(line["scores"]["tuned"])
    tasks = sorted(kept["full"])
    full = {task: 100 * mean(scores["full", task]) for task in tasks}
    assert {task: round(full[task], 1) for task in tasks} == kept["full"]
    for method, points in kept["beside"].items():
        found = {task: 100 * mean(scores[method, task]) - full[task] for task in tasks}
        assert {task: round(found[task], 1) for task in tasks} == points, method


def test_a_band_is_from_the_worst_task_to_the_best():
    assert quality_of("lora") == "-2 to +1"
    assert quality_of("full") == "0"
    assert quality_of("ia3") == ""
