"""A run's checks: warned of before training, fitted, and none of them loses the others."""

import pytest

from tests.runs.tiny import config
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Notice, Progress
from tunesmith.runs.run import train_run
from tunesmith.training.events import Planned

BROKEN = """
def f(answer, reference, question):
    if int(question.split()[1]) % 2:
        raise ValueError("no score for " + question)
    return answer == reference
"""


def run(folder, *checks):
    events = []
    evaluate = {"checks": list(checks), "max_new_tokens": 4, "forgetting": "none"}
    made = config(folder, evaluate=evaluate)
    return train_run(made, progress=Progress(events.append)), events


def notices(events):
    return [event.message for event in events if isinstance(event, Notice)]


def test_a_check_that_fails_on_rows_keeps_its_other_rows_and_the_other_checks(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(BROKEN)
    summary, events = run(
        tmp_path,
        {"kind": "python", "function": f"{path}:f"},
        {"kind": "style"},
        {"kind": "exact"},
        {"kind": "label"},
    )
    checks = summary.evaluation["arms"]["tuned"]["checks"]
    rows = summary.evaluation["rows"]
    assert 0 < checks["python"]["n"] < rows
    assert len(checks["python"]["errors"]) == rows - checks["python"]["n"]
    assert checks["python"]["note"].startswith(f"{checks['python']['n']} of {rows} rows scored")
    assert f"({path}:4)" in checks["python"]["note"]
    assert checks["style"] == {
        "score": None,
        "low": None,
        "high": None,
        "n": 0,
        "errors": checks["style"]["errors"],
        "note": checks["style"]["note"],
    }
    assert "different answers of each" in checks["style"]["note"]
    assert "style" not in [name for name, each in summary.evaluation["differences"].items() if each]
    assert checks["exact"]["n"] == rows
    assert "errors" not in checks["exact"]
    assert "macro_f1" in checks["label"]["figures"]
    assert any(text.startswith("check `style`, tuned: 0 of") for text in notices(events))


def test_a_check_that_no_own_answer_passes_is_warned_of_before_the_training(tmp_path):
    _, events = run(tmp_path, {"kind": "starts_with", "beginnings": "never"}, {"kind": "exact"})
    first = next(i for i, event in enumerate(events) if isinstance(event, Planned))
    warned = notices(events[:first])
    assert [text for text in warned if text.startswith("check `starts_with`: none of the data's")]
    assert not [text for text in warned if "`exact`" in text]


def test_a_check_that_cannot_be_built_ends_the_run_before_it_begins(tmp_path):
    with pytest.raises(ConfigError, match="is not there"):
        run(tmp_path, {"kind": "python", "function": "nowhere.py:f"})
    assert not (tmp_path / "run").exists()
