"""An evaluation that ranks divide among them ends as on one: choices, scores, verdict."""

import json
from functools import partial

import pytest

from tests.ranks import on_ranks
from tests.runs.tiny import config
from tunesmith.evaluation import answering
from tunesmith.runs.run import train_run

# What depends on the clock, or on where the run lies, or is a hash of all of it.
TIMED = {"seconds", "report", "run", "sha256"}


def untimed(value):
    """A document without times."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not TIMED & set(key.split("_"))}
        return {key: untimed(each) for key, each in kept.items()}
    return [untimed(each) for each in value] if isinstance(value, list) else value


def numbers(value):
    """The numbers of a document, in its order, and all else of it."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        found = [numbers(each) for each in inner]
        rest = [*value] if isinstance(value, dict) else len(value)
        return [n for own, _ in found for n in own], [rest, *(other for _, other in found)]
    return ([value], None) if isinstance(value, float) else ([], value)


def ended(made):
    """What rank 0 has of a run."""
    summary = train_run(made)
    return untimed(summary.evaluation), summary.eval_loss


# Every row is a micro-batch, so that any number of ranks trains the same bytes.
STEPS = {"steps": 4, "rows_per_step": 4, "save_steps": 2, "lr": 0.01, "tokens_per_micro_batch": 8}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_two_ranks_evaluate_as_one(tmp_path, monkeypatch, home, kind):
    monkeypatch.setattr(answering, "UNIT_PROMPTS", 2)
    asked = {
        "checks": [{"kind": "exact"}],
        "max_new_tokens": 6,
        "consistency": "none",
        "knowledge": "none",
        "forgetting": {"probes": [str(probe(tmp_path / "probe.jsonl"))], "scale": "none"},
        "timed_rows": 0,
    }
    found = []
    for size in (1, 2):
        out = str(tmp_path / f"on{size}")
        made = config(tmp_path, method={"kind": kind}, evaluate=asked, train=STEPS, out=out)
        settings = {"TUNESMITH_HOME": f"{home}{size}"}
        first, *_ = on_ranks(size, partial(ended, made), settings=settings)
        if isinstance(first, Exception):
            raise first
        found.append(first)
    (alone, loss), (document, other_loss) = found
    assert alone is not None
    if kind == "lora":
        assert (document, other_loss) == (alone, loss)
    else:  # ranks train the whole model to the last bits but one
        (ours, words), (theirs, other_words) = numbers(document), numbers(alone)
        assert words == other_words
        assert [*ours, other_loss] == pytest.approx([*theirs, loss], rel=1e-4, abs=1e-5)


def probe(path):
    """A few questions with choices."""
    rows = [
        {"query": f"is it {i}", "choices": [f"yes {i}", "no", "maybe"], "gold": i % 3}
        for i in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
