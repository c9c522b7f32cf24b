""""""

import json
from dataclasses import dataclass

import pytest

from tests.cli.summaries import Answers, Summary
from tunesmith.config import load_run_config
from tunesmith.core.errors import RunError
from tunesmith.evaluation.intervals import Interval

BEFORE = Interval(0.1, low=0.04, high=0.2, n=50)
AFTER = Interval(0.9, low=0.8, high=0.96, n=50)
DIFFERENCE = Interval(0.8, low=0.65, high=0.9, n=50)


@dataclass(frozen=True)
class Result:
    summary: Summary
    check: str = "ends_with"
    before: Interval = BEFORE
    after: Interval = AFTER
    difference: Interval = DIFFERENCE
    examples: tuple = (("Where is it?", "Dunno\n\x1b[2J.", "On its way.", "It is on its way."),) * 5
    next_commands: tuple = ("tunesmith chat runs/demo",)


@pytest.fixture
def result(replace_module):
    given = Result(Summary(answers=Answers()))
    replace_module("tunesmith.setup.demo", demo=lambda *, out, progress: given)
    replace_module("tunesmith.runs.mirror", copy_ended=lambda *_: None)
    return given


def test_the_tour_shows_answers_scores_places_and_what_comes_next(result, tunesmith):
    ended = tunesmith("demo")
    assert ended.status == 0
    lines = [line.strip() for line in ended.out.splitlines()]
    assert lines.count("question   Where is it?") == 3
    assert "base       Dunno ␛[2J." in lines
    assert "before     10 % (95 % interval 4..20)" in lines
    assert "difference +80 points (95 % interval 65..90)" in lines
    assert "adapter    runs/a b/adapter" in lines
    assert lines[-1] == "tunesmith chat runs/demo"
    assert "before and after" in ended.err


def test_the_whole_verdict_stands_under_the_score(replace_module, tunesmith):
    judged = {
        "verdict": {"answer": "no", "text": "No: it forgot."},
        "report": "runs/a b/report.html",
    }
    given = Result(Summary(answers=Answers(), evaluation=judged))
    replace_module("tunesmith.setup.demo", demo=lambda *, out, progress: given)
    replace_module("tunesmith.runs.mirror", copy_ended=lambda *_: None)
    ended = tunesmith("demo").out
    assert "Verdict: No: it forgot." in ended
    assert "report: runs/a b/report.html" in ended
    assert ended.index("difference") < ended.index("Verdict") < ended.index("What was made")


def test_the_tour_is_one_document(result, tunesmith):
    document = tunesmith("demo", "--json").document
    assert document["before"] == {"score": 0.1, "low": 0.04, "high": 0.2, "n": 50}
    assert document["examples"][0]["reference"] == "It is on its way."
    assert len(document["examples"]) == 5
    assert document["run"] == "runs/a b"


def test_a_stopped_tour_ends_in_130_and_says_how_to_go_on(replace_module, tunesmith):
    def demo(*, out, progress):
        raise RunError("Stopped.", remedy=f"Go on with --resume {out}.", code="stopped")

    replace_module("tunesmith.setup.demo", demo=demo)
    ended = tunesmith("demo", "--out", "runs/d")
    assert (ended.status, ended.out) == (130, "")
    assert "Stopped. Go on with --resume runs/d." in ended.err


def test_another_refusal_of_the_tour_ends_in_1(replace_module, tunesmith):
    def demo(*, out, progress):
        raise RunError(f"{out} holds a run already.", code="exists")

    replace_module("tunesmith.setup.demo", demo=demo)
    assert tunesmith("demo").status == 1


@pytest.fixture
def rows(tmp_path):
    def write(*given, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        return path

    return write


LABELS = [{"prompt": f"q {i}", "completion": ("refund", "cancel")[i % 2]} for i in range(12)]


def test_a_config_is_written_and_can_be_loaded(rows, tmp_path, tunesmith):
    data, out = rows(*LABELS), tmp_path / "c.yaml"
    ended = tunesmith("init", data, "--out", out)
    assert ended.status == 0
    assert f"tunesmith train {out}" in ended.out
    config = load_run_config(out, {})
    assert config.data.train == str(data)
    assert [check.kind for check in config.evaluate.checks] == ["label"]


def test_json_tells_what_was_found(rows, tmp_path, tunesmith):
    document = tunesmith("init", rows(*LABELS), "--out", tmp_path / "c.yaml", "--json").document
    assert document["format"] == "prompt-completion"
    assert (document["rows"], document["faults"]) == (12, 0)
    assert document["checks"][0]["kind"] == "label"


def test_a_file_that_is_there_is_never_overwritten(rows, tmp_path, tunesmith):
    out = tmp_path / "c.yaml"
    out.write_text("mine")
    ended = tunesmith("init", rows(*LABELS), "--out", out)
    assert ended.status == 1
    assert "--out" in ended.err
    assert out.read_text() == "mine"


def test_columns_can_be_mapped_and_the_config_keeps_the_mapping(rows, tmp_path, tunesmith):
    data = rows(*({"q": row["prompt"], "a": row["completion"]} for row in LABELS))
    out = tmp_path / "c.yaml"
    words = ("--data.map", "prompt=q", "--data.map", "completion=a")
    assert tunesmith("init", data, "--out", out, *words).status == 0
    assert load_run_config(out, {}).data.map == {"prompt": "q", "completion": "a"}


def test_faults_are_counted_by_cause_and_the_config_is_written(rows, tmp_path, tunesmith):
    data, out = rows(*LABELS, *[{"prompt": "x"}] * 7), tmp_path / "c.yaml"
    ended = tunesmith("init", data, "--out", out, "--json")
    assert (ended.status, ended.document["faults"]) == (0, 7)
    assert load_run_config(out, {}).data.train == str(data)
    first, cause, all_, *_ = ended.err.splitlines()
    assert first.startswith("note: 7 faults, for which a run refuses this data")
    lines = ", ".join(str(len(LABELS) + n) for n in range(1, 6))
    assert cause.startswith(f"  {data}:{lines} (+2): ")
    assert all_ == f"All are listed by: tunesmith data check {data}"


def test_causes_beyond_the_first_are_counted(rows, tmp_path, tunesmith):
    faulty = [{"prompt": "x", "completion": value} for value in (1, [1], {"a": 1}, True, "")]
    faulty += [{"prompt": value, "completion": "x"} for value in (1, [1])]
    ended = tunesmith("init", rows(*LABELS, *faulty), "--out", tmp_path / "c.yaml")
    assert "  ... and 1 more" in ended.err.splitlines()


def test_one_fault_is_one_fault(rows, tmp_path, tunesmith):
    ended = tunesmith("init", rows(*LABELS, {"prompt": "x"}), "--out", tmp_path / "c.yaml")
    assert ended.status == 0
    assert "note: 1 fault, " in ended.err
    assert "... and" not in ended.err


def test_data_that_cannot_be_read_writes_nothing(tmp_path, tunesmith):
    ended = tunesmith("init", tmp_path / "none.jsonl", "--out", tmp_path / "c.yaml")
    assert ended.status == 1
    assert "none.jsonl" in ended.err
    assert not (tmp_path / "c.yaml").exists()


def test_a_system_prompt_can_be_given_in_short(rows, tmp_path, tunesmith):
    out = tmp_path / "c.yaml"
    ended = tunesmith("init", rows(*LABELS), "--out", out, "--system", "Be kind.")
    assert ended.status == 0
    assert load_run_config(out, {}).data.system == "Be kind."


def test_what_is_few_is_noted_beside_the_config(rows, tmp_path, tunesmith):
    ended = tunesmith("init", rows(*LABELS), "--out", tmp_path / "c.yaml", "--json")
    assert any("few held-out rows" in note for note in ended.document["notes"])
    assert "note: few held-out rows" in ended.err
