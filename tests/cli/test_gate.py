"""A build holds to a verdict: the real command's statuses and files, on tiny runs."""

import json
from xml.etree import ElementTree as ET

import pytest

from tests.runs.tiny import ONE_CHECKPOINT, config
from tests.runs.trained import copy_of
from tunesmith.api.gate import Gate
from tunesmith.cli.gate import gated
from tunesmith.core.progress import Cancelled
from tunesmith.evaluation.comparison import summarize
from tunesmith.evaluation.verdict import decide
from tunesmith.runs.run import train_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    train_run(config(folder, train=ONE_CHECKPOINT))
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A run of one's own, with its verdict."""
    return copy_of(made, tmp_path) / "run"


def with_verdict(run, answer, **more):
    """The run's evaluation with another answer."""
    document = json.loads((run / "evaluation.json").read_text())
    document["verdict"] |= {"answer": answer, "text": f"It is {answer}.", "texts": {}}
    (run / "evaluation.json").write_text(json.dumps(document | more))


@pytest.mark.parametrize(
    ("answer", "requirement", "status"),
    [
        ("yes", "yes", 0),
        ("no", "yes", 3),
        ("no", "not-no", 3),
        ("cannot-tell", "yes", 4),
        ("cannot-tell", "not-no", 0),
    ],
)
def test_each_answer_has_its_own_status(tunesmith, run, answer, requirement, status):
    with_verdict(run, answer)
    ended = tunesmith("evaluate", run, "--require", requirement, "--json")
    assert (ended.status, ended.document["verdict"]["answer"]) == (status, answer)


def test_without_a_requirement_any_verdict_is_a_success(tunesmith, run):
    with_verdict(run, "no")
    assert tunesmith("evaluate", run).status == 0


def test_usage_and_refusals_keep_their_own_statuses(tunesmith, run, tmp_path):
    junit = tmp_path / "junit.xml"
    assert tunesmith("evaluate", run, "--require", "perhaps").status == 2
    ended = tunesmith("evaluate", tmp_path / "nothing", "--require", "yes", "--junit", junit)
    assert ended.status == 1
    assert ET.parse(junit).find("testsuite/testcase/error") is not None


def test_a_command_that_is_stopped_leaves_its_files(tmp_path):
    def stopped():
        raise Cancelled("To resume: the same command")

    gate = Gate("yes", tmp_path / "junit.xml", tmp_path / "card.md")
    with pytest.raises(Cancelled):
        gate.over(stopped)
    error = ET.parse(tmp_path / "junit.xml").find("testsuite/testcase/error")
    assert error.get("message").startswith("Stopped before there was a verdict. To resume")
    assert (tmp_path / "card.md").read_text().startswith("### No verdict\n")


def test_a_build_gets_its_files_and_annotations(tunesmith, run, tmp_path, monkeypatch):
    with_verdict(run, "cannot-tell")
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    junit, markdown = tmp_path / "junit.xml", tmp_path / "card.md"
    files = ("--junit", junit, "--markdown", markdown)
    ended = tunesmith("evaluate", run, "--require", "yes", *files, "--json")
    assert (ended.status, ended.document["verdict"]["answer"]) == (4, "cannot-tell")
    assert f"::warning title={run}%3A cannot-tell::It is cannot-tell." in ended.err
    assert ET.parse(junit).find("testsuite/testcase/failure").get("type") == "cannot-tell"
    assert markdown.read_text() in summary.read_text()


def test_training_holds_to_a_verdict_too(tunesmith, made, tmp_path):
    folder = copy_of(made, tmp_path)
    ended = tunesmith("train", "--resume", folder / "run", "--require", "not-no")
    verdict = json.loads((folder / "run" / "evaluation.json").read_text())["verdict"]["answer"]
    assert ended.status == {"yes": 0, "no": 3, "cannot-tell": 0}[verdict]


@pytest.mark.parametrize(
    ("flags", "lacks"),
    [(["--evaluate.checks", "[]"], "without a check"), (["--data.eval", "0"], "held-out rows")],
)
@pytest.mark.parametrize("command", [["train"], ["compare", "--methods", "lora,prompt"]])
def test_a_verdict_that_there_would_not_be_is_refused_before_the_training(
    tunesmith, made, tmp_path, command, flags, lacks
):
    given = ["--model", made / "base", "--data", made / "rows.jsonl", "--out", tmp_path / "new"]
    checks = [] if "--evaluate.checks" in flags else ["--evaluate.checks", "[{kind: exact}]"]
    ended = tunesmith(*command, *given, *flags, *checks, "--require", "yes")
    assert ended.status == 2
    assert lacks in ended.err
    assert not (tmp_path / "new").exists()


def test_what_rests_on_the_same_is_not_evaluated_again(tunesmith, run):
    before = (run / "evaluation.json").read_bytes()
    ended = tunesmith("evaluate", run)
    assert "this is that evaluation" in ended.out
    assert (run / "evaluation.json").read_bytes() == before
    assert "this is that evaluation" not in tunesmith("evaluate", run, "--fresh").out
    changed = tunesmith("evaluate", run, "--evaluate.max_new_tokens", 5)
    assert "this is that evaluation" not in changed.out
    assert "this is that evaluation" not in tunesmith("evaluate", run).out


def test_rows_that_changed_are_asked_again(tunesmith, run):
    rows = run.parent / "rows.jsonl"
    text = rows.read_text()
    rows.write_text(text.replace("it is 7", "it is 8", 1))
    assert "this is that evaluation" not in tunesmith("evaluate", run).out


def test_an_earlier_run_answers_the_same_rows(tunesmith, run, made):
    earlier = made / "run"
    untouched = (earlier / "evaluation.json").read_bytes()
    ended = tunesmith("evaluate", run, "--against", earlier, "--require", "yes", "--json")
    part = ended.document["against"]
    assert (part["run"], part["answer"]) == (str(earlier), "cannot-tell")
    assert part["rows"] == ended.document["arms"]["tuned"]["checks"]["exact"]["n"]
    difference = part["skill"]["difference"]
    assert (difference["mean"], difference["low"] < 0 < difference["high"]) == (0, True)
    assert ended.status in (3, 4)
    assert (earlier / "evaluation.json").read_bytes() == untouched
    again = tunesmith("evaluate", run, "--against", earlier)
    assert "this is that evaluation" in again.out
    assert f"against {earlier}: Skill: cannot tell" in again.out


def test_an_earlier_run_that_was_trained_on_the_asked_rows_is_told(tunesmith, run, made, tmp_path):
    earlier = made / "run"
    same = tunesmith("evaluate", run, "--against", earlier, "--json").document["against"]
    assert same["notes"] == []
    rows = ("--data", made / "rows.jsonl")
    ended = tunesmith("evaluate", run, *rows, "--against", earlier, "--out", tmp_path, "--json")
    (note,) = ended.document["against"]["notes"]
    assert note.startswith(f"the earlier run was trained on the rows of {made / 'rows.jsonl'}")
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("eval: 0.2", "eval: 0.4"))
    other = tunesmith("evaluate", run, "--against", earlier, "--json")
    (note,) = other.document["against"]["notes"]
    assert "held out other rows of it" in note
    page = (run / "report.html").read_text()
    assert f"Against the earlier run {earlier}: Skill: " in page
    assert "held out other rows of it" in page


def test_only_a_run_can_be_the_earlier_one(tunesmith, run, tmp_path):
    ended = tunesmith("evaluate", run, "--against", tmp_path / "nothing")
    assert (ended.status, "is not a run" in ended.err) == (1, True)


def test_the_flags_are_those_of_the_verbs_that_give_a_verdict(tunesmith):
    for words in (("train",), ("evaluate",), ("compare",)):
        assert "--require" in tunesmith(*words, "--help").out
    assert gated.__doc__


@pytest.mark.slow
def test_a_gate_lets_hardly_any_run_pass_that_gained_nothing(tunesmith, run):
    """400 evaluations of a tuning that changes nothing, each through the command."""
    import numpy as np

    rng, passed = np.random.default_rng(0), 0
    for _ in range(400):
        scores = {arm: rng.binomial(1, 0.5, 200).tolist() for arm in ("base", "tuned")}
        verdict = decide(summarize({"exact": scores}, seed=0))
        with_verdict(run, verdict.answer)
        passed += tunesmith("evaluate", run, "--require", "yes").status == 0
    assert passed <= 0.05 * 400
