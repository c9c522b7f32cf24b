"""The benchmarks' files share what they share: a change of one side cannot miss another."""

import ast
from collections import defaultdict

from tests.source import ROOT

BLOCK = 4


def blocks(text):
    """Every few lines in a row, indentation, brackets alone and imports aside."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [x for x in lines if x.strip("()[]{},") and not x.startswith(("import ", "from "))]
    return {tuple(lines[i : i + BLOCK]) for i in range(len(lines) - BLOCK + 1)}


def repeated(texts):
    """The blocks that several of these files have, with the files."""
    found = defaultdict(list)
    for name, text in texts.items():
        for block in blocks(text):
            found[block].append(name)
    return {block: names for block, names in found.items() if len(names) > 1}


def test_no_block_of_lines_is_in_two_files():
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert repeated({file.name: file.read_text(encoding="utf-8") for file in files}) == {}


def test_a_repeated_block_is_seen_whatever_its_indentation():
    block = "a = 1\nb = 2\nc = 3\nd = 4\n"
    assert repeated({"x": block, "y": "import e\n" + block.replace("\n", "\n    ")}) == {
        tuple(block.split("\n")[:BLOCK]): ["x", "y"]
    }


# Benchmarks of what a user gets leave these to the defaults; others say why they do not.
LEFT_TO_DEFAULTS = {"rows_per_step", "tokens_per_step", "lr", "warmup_steps", "schedule"}
OWN_STEPS = {
    "bad_fine_tunes.py": "runs that are bad on purpose",
    "degeneration_runs.py": "some runs are bad on purpose",
    "erosion.py": "as few steps as take an ability away",
    "busy.py": "speed of steps of one size",
    "methods/step_sizes.py": "they are what is measured",
    "methods/training_answers.py": "a checkpoint after each pass",
    "methods/retention.py": "half the rate is one of the ways that are measured",
    "sides/one_step.py": "speed of steps of one size",
    "sides/together_side.py": "speed of steps of one size",
    "sides/tunesmith_side.py": "speed of steps of one size",
    "search.py": "rates are what is searched",
    "rank_speed.py": "speed of steps of one size",
    "plan_accuracy.py": "memory and time of steps of each size",
    "equal_losses.py": "the peers' steps, to compare losses",
}
BELOW_THE_API = {"train_run", "compare_runs", "resume_run"}


def test_benchmarks_train_by_the_api_with_the_defaults():
    for file in sorted((ROOT / "benchmarks").rglob("*.py")):
        name = file.relative_to(ROOT / "benchmarks").as_posix()
        if name in OWN_STEPS:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names
        }
        keys = {
            key.value
            for n in ast.walk(tree)
            if isinstance(n, ast.Dict)
            for key in n.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
        assert not imported & BELOW_THE_API, name
        assert not {key.removeprefix("train.") for key in keys} & LEFT_TO_DEFAULTS, name
