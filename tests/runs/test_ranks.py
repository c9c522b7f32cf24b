"""A run on several ranks: one config, one folder, one report; the same result as on one."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.ranks import on_ranks
from tests.runs.tiny import config
from tunesmith.core import ranks
from tunesmith.core.errors import DataError, RunError
from tunesmith.core.progress import Notice, Progress
from tunesmith.runs.own_folder import begun_before, claim_folder
from tunesmith.runs.run import resume_run, train_run
from tunesmith.training.events import Planned, StepDone

TRAIN = {"steps": 4, "rows_per_step": 6, "save_steps": 2, "lr": 0.01, "retention": "none"}
SAME_CUTS = {**TRAIN, "tokens_per_micro_batch": 40}


def heard(settings, *, stop_at=None):
    """A run on this rank: how it ended, and the events that it reported."""
    events = []

    def asked():
        steps = [each for each in events if isinstance(each, StepDone)]
        return stop_at is not None and len(steps) >= stop_at and ranks.is_first()

    progress = Progress(events.append, cancelled=asked)
    if isinstance(settings, Path):
        return resume_run(settings, progress=progress).to_json(), events
    return train_run(settings, progress=progress).to_json(), events


def adapter_of(folder):
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_two_ranks_make_one_run(tmp_path, home):
    made = config(tmp_path, train={**SAME_CUTS, "steps": 2}, evaluate={"forgetting": "none"})
    (first, _), (other, heard_there) = on_ranks(2, partial(heard, made))
    assert first == other
    assert first["reason"] == "done"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert [event.step for event in heard_there if isinstance(event, StepDone)] == [1, 2]


def test_ranks_without_work_are_reported(tmp_path, home):
    one = {**TRAIN, "steps": 1, "rows_per_step": 1}
    made = config(tmp_path, train=one, evaluate={"forgetting": "none"})
    (_, events), _ = on_ranks(2, partial(heard, made))
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any(each.startswith("a step has work for 1 of 2 ranks: raise") for each in notices)


@pytest.mark.slow
def test_a_run_on_any_number_of_ranks_is_one_run_with_the_same_adapter(tmp_path, home):
    found = {}
    for size in (1, 2, 4):
        made = config(tmp_path, train=SAME_CUTS, out=str(tmp_path / str(size)))
        found[size] = on_ranks(size, partial(heard, made))
    (alone, _), *_ = found[1]
    for size, results in found.items():
        folder = tmp_path / str(size)
        assert adapter_of(folder) == adapter_of(tmp_path / "1")
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == TRAIN["steps"]
        assert all(each["evaluation"] == results[0][0]["evaluation"] for each, _ in results)
        assert results[0][0]["train_loss"] == alone["train_loss"]
        (planned,) = (event for event in results[0][1] if isinstance(event, Planned))
        assert planned.ranks == size


@pytest.mark.slow
def test_micro_batches_are_cut_for_the_ranks_and_a_resumed_run_keeps_the_cuts(tmp_path, home):
    made = config(tmp_path, train=TRAIN, out=str(tmp_path / "a"))
    on_ranks(2, partial(heard, made))
    assert json.loads((tmp_path / "a" / "plan.json").read_text())["ranks"] == 2
    stopped = made.model_copy(update={"out": str(tmp_path / "b")})
    for summary, _ in on_ranks(2, partial(heard, stopped, stop_at=1)):
        assert (summary["reason"], summary["steps"]) == ("stopped", 1)
    # as processes of before had it
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    (tmp_path / "b" / "plan.json").write_text(json.dumps(plan))
    found = on_ranks(4, partial(heard, tmp_path / "b"))
    assert [each["reason"] for each, _ in found] == ["done"] * 4
    assert adapter_of(tmp_path / "b") == adapter_of(tmp_path / "a")


def test_data_that_differs_between_ranks_is_refused_and_nothing_stays(tmp_path, home):
    made = config(tmp_path, out=str(tmp_path / "run"))
    rows = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rows.jsonl").write_text(rows.replace("it is 7", "it is 8"))
    (tmp_path / "rows.jsonl").rename(tmp_path / "base" / "rows.jsonl")
    data = made.data.model_copy(update={"train": "rows.jsonl"})
    made = made.model_copy(update={"data": data})

    def work():
        os.chdir(tmp_path / ("base" if ranks.is_first() else "other"))
        return heard(made)

    first, other = on_ranks(2, work)
    assert first.code == "ranks"
    assert "The ranks differ in the data: rank 0: rows.jsonl (sha256 " in first.message
    assert isinstance(other, ranks.ReportedElsewhere)
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_missing_on_one_machine_is_named_with_the_rank(tmp_path, home):
    made = config(tmp_path, out=str(tmp_path / "run"))
    (tmp_path / "rows.jsonl").rename(tmp_path / "base" / "rows.jsonl")
    data = made.data.model_copy(update={"train": "rows.jsonl"})
    made = made.model_copy(update={"data": data})

    def work():
        os.chdir(tmp_path / "base" if ranks.is_first() else tmp_path)
        return heard(made)

    first, other = on_ranks(2, work)
    assert first.message.startswith("Rank 1: rows.jsonl")
    assert first.code == "missing_file"
    assert isinstance(other, ranks.ReportedElsewhere)


def test_threads_that_differ_between_ranks_are_refused(tmp_path, home):
    import torch

    def work():
        torch.set_num_threads(1 + ranks.rank())
        return heard(config(tmp_path))

    first, _ = on_ranks(2, work)
    assert "The ranks differ in what can change the last bit of a result" in first.message
    assert "threads 1" in first.message
    assert "threads 2" in first.message
    assert "OMP_NUM_THREADS" in first.remedy


def test_a_folder_that_holds_a_run_is_refused_once(tmp_path, home):
    made = config(tmp_path, train=SAME_CUTS)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({}))
    first, other = on_ranks(2, partial(heard, made))
    assert isinstance(first, RunError)
    assert "holds a run already" in first.message
    assert isinstance(other, ranks.ReportedElsewhere)


@pytest.mark.slow
def test_ranks_that_are_started_once_more_resume_what_they_had_begun(tmp_path, home):
    made = config(tmp_path, train=SAME_CUTS, out=str(tmp_path / "a"))
    on_ranks(2, partial(heard, made))
    again = made.model_copy(update={"out": str(tmp_path / "b")})
    on_ranks(2, partial(heard, again, stop_at=2))
    found = on_ranks(2, partial(heard, again), settings={ranks.RESTARTS: "1"})
    notices = [event.message for event in found[0][1] if isinstance(event, Notice)]
    assert "resumed after step 2" in notices
    assert adapter_of(tmp_path / "b") == adapter_of(tmp_path / "a")


def test_the_run_that_was_begun_is_the_last_one_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = config(tmp_path).model_copy(update={"out": None})
    assert begun_before(made) is None
    monkeypatch.setenv(ranks.RESTARTS, "2")
    assert begun_before(made) is None
    for _ in range(2):
        folder = claim_folder("rows-lora")
        (folder / "config.yaml").touch()
    assert str(begun_before(made)) == "runs/rows-lora-2"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "prompt", "p-tuning", "qlora"])
def test_other_methods_run_on_two_ranks(tmp_path, home, kind):
    made = config(tmp_path, train={**TRAIN, "steps": 2}, method={"kind": kind})
    summaries = [summary for summary, _ in on_ranks(2, partial(heard, made))]
    assert [each["reason"] for each in summaries] == ["done"] * 2
    assert summaries[0]["evaluation"]["arms"].keys() >= {"base", "tuned"}


def test_rows_that_are_refused_are_reported_once(tmp_path, home):
    made = config(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    first, other = on_ranks(2, partial(heard, made))
    assert isinstance(first, DataError)
    assert isinstance(other, ranks.ReportedElsewhere)
