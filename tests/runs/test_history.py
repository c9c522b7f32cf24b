import json

import pytest

from tunesmith.core.errors import RunError
from tunesmith.runs.history import find_run, list_runs, read_run


@pytest.fixture
def make(tmp_path):
    def made(name="one", *, metrics=(), events=(), summary=None, torn=""):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("model: m\nmethod: {kind: lora}\ndata: {train: a}\n")
        text = "".join(json.dumps(line) + "\n" for line in metrics)
        (folder / "metrics.jsonl").write_text(text + torn)
        (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
        if summary is not None:
            (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return made


def steps(*losses):
    return [{"step": i, "tokens": 10 * i, "loss": x} for i, x in enumerate(losses, start=1)]


def test_a_half_written_last_line_is_no_fault_and_does_not_count(make):
    record = read_run(make(metrics=steps(3.0, 2.0), torn='{"step": 3, "loss"'))
    assert (record.steps, record.losses, record.faults) == (2, (3.0, 2.0), ())


def test_a_damaged_line_in_the_middle_is_named(make):
    folder = make(metrics=steps(3.0), torn='{"step": 2\n{"step": 3, "loss": 1.0}\n')
    record = read_run(folder)
    assert record.losses == (3.0, 1.0)
    assert record.faults == (f"{folder / 'metrics.jsonl'}:2: not valid JSON",)


@pytest.mark.parametrize("reason", ["done", "early", "stopped"])
def test_a_summary_says_how_the_run_ended(make, reason):
    record = read_run(make(metrics=steps(1.0), summary={"steps": 1, "reason": reason}))
    assert record.state == reason
    assert record.can_resume == (reason == "stopped")


def test_a_summary_of_fewer_steps_is_of_an_earlier_part(make):
    summary = {"steps": 1, "reason": "stopped"}
    assert read_run(make(metrics=steps(2.0, 1.0), summary=summary)).state == "interrupted"


def test_without_a_summary_the_run_was_interrupted_and_can_go_on(make):
    folder = make(metrics=steps(1.0))
    assert read_run(folder).state == "interrupted"
    assert read_run(folder).next_commands() == [f"tunesmith train --resume {folder}"]


def test_a_run_that_failed_says_so_until_it_goes_on(make):
    events = [{"event": "planned", "steps": 9}, {"event": "ended", "step": 1, "reason": "failed"}]
    failed = read_run(make(metrics=steps(1.0), events=events))
    assert (failed.state, failed.can_resume) == ("failed", True)
    again = read_run(make("two", metrics=steps(1.0), events=[*events, events[0]]))
    assert again.state == "interrupted"


def test_held_out_losses_count_once_a_step_the_newest(make):
    losses = [(5, 1.0), (10, 0.9), (5, 0.8)]
    record = read_run(make(events=[{"event": "heldout", "step": s, "loss": x} for s, x in losses]))
    assert record.held_out == ((5, 0.8), (10, 0.9))


def test_notices_and_the_last_plan_are_read(make):
    events = [
        {"event": "planned", "steps": 9},
        {"event": "notice", "code": "cut", "message": "cut"},
        {"event": "notice", "code": "cut", "message": "cut"},
        {"event": "planned", "steps": 12},
    ]
    record = read_run(make(events=events))
    assert (record.planned, record.notices) == (12, ("cut",))


def test_results_and_complete_checkpoints_are_found(make):
    folder = make(summary={"steps": 0, "reason": "done"})
    for name in ("step-00000002", "best", ".tmp-step-00000003"):
        (folder / "checkpoints" / name).mkdir(parents=True)
    (folder / "adapter").mkdir()
    record = read_run(folder)
    assert record.checkpoints == ("best", "step-00000002")
    assert record.adapter == folder / "adapter"
    assert record.next_commands() == [f"tunesmith chat {folder}"]


def test_the_summary_is_believed_before_the_metrics(make):
    summary = {"steps": 1, "reason": "done", "train_loss": 0.1, "eval_loss": 0.2}
    facts = read_run(make(metrics=steps(3.0), summary=summary)).to_json()
    assert (facts["train_loss"], facts["eval_loss"]) == (0.1, 0.2)


def test_a_run_killed_before_its_first_step_can_be_read(make):
    facts = read_run(make()).to_json()
    assert (facts["steps"], facts["train_loss"], facts["method"]) == (0, None, "lora")


def test_damaged_files_are_faults_and_not_errors(make):
    folder = make()
    (folder / "config.yaml").write_text("a: [")
    (folder / "summary.json").write_text("{")
    record = read_run(folder)
    assert len(record.faults) == 2
    assert record.state == "interrupted"


def test_only_folders_with_a_run_are_listed(make, tmp_path):
    make("b")
    make("a")
    (tmp_path / "other").mkdir()
    assert [record.folder.name for record in list_runs(tmp_path)] == ["a", "b"]
    assert list_runs(tmp_path / "none") == []


def test_a_run_is_found_by_folder_or_name(make, tmp_path):
    folder = make("a")
    assert find_run(str(folder), tmp_path / "none").folder == folder
    assert find_run("a", tmp_path).folder == folder
    with pytest.raises(RunError, match="is not a run") as refused:
        find_run("b", tmp_path)
    assert "holds the runs a." in refused.value.remedy
