"""`train(ranks=N)`: torchrun starts the ranks; this process hears them and ends as they do."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

import tunesmith as ts
from tests.ranks import environment
from tests.runs.tiny import UNMEASURED, base_folder, rows_file
from tunesmith.api.ranked import require_ranks
from tunesmith.core import ranks
from tunesmith.core.errors import DataError, RunError, UsageError
from tunesmith.core.progress import Cancelled, Notice
from tunesmith.training.events import StepDone

STEPS = 30


@pytest.fixture
def start(tmp_path, home):
    """Starts a run of one config in a folder, on some ranks."""
    base_folder(tmp_path / "base")
    rows_file(tmp_path / "rows.jsonl")
    settings = {
        "train": {
            "rows_per_step": 6,
            "save_steps": 1,
            "tokens_per_micro_batch": 40,
            "retention": "none",
        },
        "evaluate": {**UNMEASURED, "max_new_tokens": 4, "timed_rows": 0},
        "data.eval": 0.2,
    }

    def started(name, count, **options):
        return ts.train(
            str(tmp_path / "rows.jsonl"),
            model=str(tmp_path / "base"),
            method={"kind": "lora", "rank": 2},
            checks=["exact"],
            dtype="float32",
            steps=STEPS,
            lr=0.01,
            settings=settings,
            out=str(tmp_path / name),
            ranks=count,
            progress=False,
            **options,
        )

    return started


def adapter_of(run):
    return (run.adapter / "adapter_model.safetensors").read_bytes()


def processes():
    """The ranks that this process has, by their number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            values = (folder / "environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        if b"rank_worker" in words and parent == os.getpid():
            named = dict(value.split("=", 1) for value in values if "=" in value)
            found[int(named["RANK"])] = int(folder.name)
    return found


class Acting:
    """Does something to a rank at each of some steps, each once; collects what it hears."""

    def __init__(self, act, *steps):
        self.act, self.left, self.heard = act, list(steps), []

    def __call__(self, event):
        self.heard.append(event)
        if isinstance(event, StepDone) and self.left and event.step >= self.left[0]:
            self.act(self.left.pop(0))


@pytest.mark.slow
def test_two_ranks_end_as_one_and_every_event_is_heard_here(start):
    events = []
    two = start("two", 2, on_event=events.append)
    assert adapter_of(two) == adapter_of(start("one", 1))
    assert [event.step for event in events if isinstance(event, StepDone)] == [*range(1, STEPS + 1)]
    assert two.report.is_file()
    assert len(two.metrics) == STEPS
    assert threading.active_count() < 20


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(3, 11, 20), (1, 6, 17), (9, 22), (14, 28)], ids=str)
def test_a_killed_rank_starts_all_once_more_and_the_result_is_the_same(start, steps):
    """Ten moments, each some time after a step: in the next one, or while a checkpoint is saved."""
    one = start("one", 1)

    def kill(step):
        time.sleep(random.Random(step).uniform(0, 0.2))
        os.kill(processes()[step % 2], signal.SIGKILL)

    hearing = Acting(kill, *steps)
    run = start("two", 2, on_event=hearing)
    assert hearing.left == []
    assert adapter_of(run) == adapter_of(one)
    resumed = [e.message for e in hearing.heard if isinstance(e, Notice) and e.code == "resumed"]
    assert len(resumed) >= len(steps) - (1 in steps)  # before the first checkpoint it starts anew


@pytest.mark.slow
def test_ranks_that_end_again_and_again_are_reported_and_what_was_saved_stays(start, tmp_path):
    def kill(_):
        os.kill(processes()[1], signal.SIGKILL)

    with pytest.raises(RunError, match=r"started 4 times, .* rank 1 ended by SIGKILL"):
        start("two", 2, on_event=Acting(kill, 2, 4, 6, 8))
    run = ts.train(resume=tmp_path / "two", progress=False)
    assert adapter_of(run) == adapter_of(start("one", 1))


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_and_all_start_once_more(start, monkeypatch):
    monkeypatch.setenv(ranks.SECONDS, "8")

    def stop(_):
        os.kill(processes()[1], signal.SIGSTOP)

    hearing = Acting(stop, 5)
    run = start("two", 2, on_event=hearing)
    assert adapter_of(run) == adapter_of(start("one", 1))
    lost = [e.message for e in hearing.heard if isinstance(e, Notice) and e.code == ranks.LOST]
    assert "Rank 0 waited for rank 1, which did not come in 8 seconds" in lost[0]


@pytest.mark.slow
def test_a_cancel_completes_the_step_and_the_run_resumes_on_more_ranks(start, tmp_path):
    def interrupt(_):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Cancelled, match="train --resume") as cancelled:
        start("two", 2, on_event=Acting(interrupt, 4))
    steps = cancelled.value.run.summary.steps
    assert 4 <= steps < STEPS
    assert (tmp_path / "two" / "checkpoints" / f"step-{steps:08d}").is_dir()
    run = ts.train(resume=tmp_path / "two", ranks=4, progress=False)
    assert adapter_of(run) == adapter_of(start("one", 1))
    assert processes() == {}


@pytest.mark.slow
def test_a_refusal_of_a_rank_is_raised_here_and_tried_once(start, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    began = time.monotonic()
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        start("two", 2)
    assert not (tmp_path / "two").exists()
    assert time.monotonic() - began < 120


def test_what_cannot_be_several_ranks_is_refused_before_anything_starts(monkeypatch):
    with pytest.raises(RunError, match=r"3 ranks: .* Start 2 or 4"):
        require_ranks(3, is_named=True)
    with pytest.raises(UsageError, match="in memory"):
        require_ranks(2, is_named=False)
    for name, value in environment(0, 2, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="torchrun started"):
        require_ranks(2, is_named=True)
