"""A search: survivors are as they are alone, losers make room, and what is judged was not seen."""

import contextlib
import json
import os
import signal

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.runs.tiny import config
from tunesmith.config.load import load_run_config
from tunesmith.config.methods import FullSettings
from tunesmith.core.errors import ConfigError, DataError, RunError, UsageError
from tunesmith.core.progress import Cancelled, Progress
from tunesmith.runs.folder import alone
from tunesmith.runs.result import open_for
from tunesmith.runs.rows import load_rows_for
from tunesmith.runs.run import train_run
from tunesmith.training import checkpoint
from tunesmith.training.events import Ended, Saved, StepDone

pytest.importorskip("optuna")

from tunesmith.studies.search import resume_search, search_settings
from tunesmith.studies.search_state import BEST

pytestmark = pytest.mark.usefixtures("home")
OVER = {"train.lr": (1e-3, 3e-1), "method.rank": [1, 2, 4]}
STEPS = 16


def made(folder, **changes):
    train = {"steps": STEPS, "rows_per_step": 3, "lr": 0.01, "retention": "none"}
    return config(
        folder, train=train, data={"train": str(folder / "rows.jsonl"), "eval": 0.4}, **changes
    )


def go(folder, out, *, most=10, cancelled=None):
    events = []

    def progress_of(name):
        return Progress(
            lambda event: events.append((name, event)),
            cancelled=(lambda: cancelled(events)) if cancelled else lambda: False,
        )

    return search_settings(made(folder), out, progress_of, over=OVER, minutes=60, most=most), events


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("TUNESMITH_HOME", str(home))
        patch.setattr("tunesmith.evaluation.score_cache.cache_root", lambda: home)
        folder = tmp_path_factory.mktemp("search")
        state, events = go(folder, folder / "out")
        yield folder, state, events


def tensors(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_losers_stop_early_and_others_take_their_place(searched):
    _, state, events = searched
    assert len(state.trials) == 10
    stopped = [trial for trial in state.trials if trial.state == "stopped"]
    assert {trial.step for trial in stopped} <= {2, 4, 8}
    done = [trial for trial in state.trials if trial.state == "done"]
    assert done
    assert all(trial.step == STEPS for trial in done)
    steps = sum(isinstance(event, StepDone) for _, event in events)
    assert steps <= 0.5 * STEPS * len(state.trials)
    begun = [name for name, event in events if isinstance(event, StepDone) and event.step == 1]
    first_end = next(i for i, (_, e) in enumerate(events) if isinstance(e, Ended))
    late = {
        name
        for name, event in events[first_end:]
        if isinstance(event, StepDone) and event.step == 1
    }
    assert len(set(begun) - late) == 8
    assert not any((state.folder(trial).checkpoints).exists() for trial in stopped)


def test_the_best_is_to_the_byte_what_its_config_trains_alone(searched):
    folder, state, _ = searched
    alone = load_run_config(state.out / BEST, {"out": str(folder / "alone")})
    train_run(alone)
    best = state.folder(state.leader).path
    ours, theirs = (
        (each / "adapter" / "adapter_model.safetensors").read_bytes()
        for each in (best, folder / "alone")
    )
    assert ours == theirs
    assert (
        json.loads((folder / "alone" / "evaluation.json").read_text())["arms"]
        == state.summary.evaluation["arms"]
    )


def test_every_survivor_is_to_the_byte_as_alone(searched):
    folder, state, _ = searched
    for trial in (t for t in state.trials if t.state == "done" and t.name != state.best):
        out = folder / "others" / trial.name
        train_run(state.config_of(trial).model_copy(update={"out": str(out)}))
        one, other = (
            checkpoint.tensors_of(checkpoint.folder_of(each / "checkpoints", STEPS))
            for each in (out, state.folder(trial).path)
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_judged_was_never_used_to_choose(searched):
    _, state, _ = searched
    loaded = open_for(state.config, progress=Progress())
    rows = load_rows_for(state.config, loaded, None)
    sides = [
        {r.messages[0].content for r in each}
        for each in (rows.validation_conversations, rows.held_conversations)
    ]
    assert not sides[0] & sides[1]
    assert [len(rows.validation), len(rows.held)] == list(state.rows)
    answers = (state.folder(state.leader).path / "answers.jsonl").read_text().splitlines()
    assert {json.loads(line)["question"] for line in answers} <= sides[1]
    document = state.to_json()
    assert document["score"]["low"] <= document["score"]["score"] <= document["score"]["high"]


def test_the_result_is_a_config_with_its_evidence(searched):
    _, state, _ = searched
    text = (state.out / BEST).read_text()
    assert text.startswith(f"# {state.best}, the best of a search (10 settings).")
    assert "# Score of the rows that the search never saw: " in text
    values = yaml.safe_load(text)
    assert values["train"]["lr"] == state.leader.values["train.lr"]
    assert "out" not in values
    again = resume_search(state.out)
    assert again.to_json() == state.to_json()
    with pytest.raises(RunError, match="holds a search already"):
        search_settings(state.config, state.out, over=OVER)


def test_a_search_that_comes_second_leaves_the_first_one_its_folder(tmp_path, monkeypatch):
    out = tmp_path / "out"
    with contextlib.ExitStack() as first:

        def begin():  # while the other one imports it
            out.mkdir()
            (out / "search.json").write_text("{}")
            first.enter_context(alone(out))

        monkeypatch.setattr("tunesmith.studies.search.optuna", begin)
        with pytest.raises(RunError, match="another process"):
            search_settings(made(tmp_path), out, over=OVER)
        assert {path.name for path in out.iterdir()} == {".lock", "search.json"}


def test_a_search_that_was_stopped_resumes_as_the_unbroken_one(searched, tmp_path):
    folder, whole, _ = searched

    def after_some(events):
        return sum(isinstance(event, StepDone) for _, event in events) > 30

    with pytest.raises(Cancelled) as stopped:
        go(folder, tmp_path / "parts", cancelled=after_some)
    so_far = stopped.value.result
    assert so_far.leader is not None
    assert "so far" in (tmp_path / "parts" / BEST).read_text()
    found = resume_search(tmp_path / "parts")
    assert [t.values for t in found.trials] == [t.values for t in whole.trials]
    assert found.best == whole.best
    one, other = (tensors(each.folder(each.leader).path) for each in (found, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)


def died(folder, out, is_time):
    """A process that kills itself in the middle of a search, as kill -9 would."""
    child = os.fork()
    if not child:

        def listen(events):
            if is_time(events):
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        with contextlib.suppress(BaseException):
            go(folder, out, cancelled=listen)
        os._exit(1)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("steps", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (31, 44))])
def test_a_search_that_was_killed_resumes_as_the_unbroken_one(searched, tmp_path, steps):
    folder, whole, _ = searched

    def is_time(events):
        return sum(isinstance(event, StepDone) for _, event in events) >= steps

    assert died(folder, tmp_path / "parts", is_time)
    found = resume_search(tmp_path / "parts")
    assert [t.values for t in found.trials] == [t.values for t in whole.trials]
    assert [t.state for t in found.trials] == [t.state for t in whole.trials]
    one, other = (tensors(each.folder(each.leader).path) for each in (found, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(  # between two marks, and while losses are measured
    "after", [18, pytest.param(24, marks=pytest.mark.slow)]
)
def test_a_stop_that_is_killed_between_its_saves_resumes_as_the_unbroken_one(
    searched, tmp_path, after
):
    folder, whole, _ = searched
    child = os.fork()
    if not child:
        steps = saved = 0

        def listen(event):
            nonlocal steps, saved
            steps += isinstance(event, StepDone)
            saved += isinstance(event, Saved) and steps >= after
            if saved == 3:
                os.kill(os.getpid(), signal.SIGKILL)

        def progress_of(_):
            return Progress(listen, cancelled=lambda: steps >= after)

        with contextlib.suppress(BaseException):
            out = tmp_path / "parts"
            search_settings(made(folder), out, progress_of, over=OVER, minutes=60, most=10)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    found = resume_search(tmp_path / "parts")
    assert [t.values for t in found.trials] == [t.values for t in whole.trials]
    assert [t.state for t in found.trials] == [t.state for t in whole.trials]


def test_what_else_lies_in_the_folder_of_a_refused_search_is_left(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="has room for 0 settings"):
        search_settings(made(tmp_path), out, over=OVER, minutes=1e-4)
    assert [each.name for each in out.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        ({"method": FullSettings()}, {}, ConfigError, "`full` has none"),
        ({}, {"minutes": 0}, UsageError, "above 0"),
        ({}, {"most": 1}, UsageError, "fewer than 2 settings"),
        ({}, {"over": {"method.rnk": [1, 2]}}, ConfigError, "`method.rnk` is no key"),
        ({}, {"minutes": 1e-4}, ConfigError, "has room for 0 settings"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_is_left(
    tmp_path, changes, options, error, message
):
    with pytest.raises(error, match=message):
        search_settings(
            made(tmp_path).model_copy(update=changes), tmp_path / "out", **{"over": OVER, **options}
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("share", "message"), [(0.0, "needs held-out rows"), (0.1, "too few")])
def test_without_rows_to_choose_by_nothing_begins(tmp_path, share, message):
    start = made(tmp_path)
    data = start.data.model_copy(update={"eval": share})
    with pytest.raises(DataError, match=message):
        search_settings(start.model_copy(update={"data": data}), tmp_path / "out", over=OVER)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_search_is_not_resumed(tmp_path):
    with pytest.raises(RunError, match=r"holds no search: search.json is missing"):
        resume_search(tmp_path)
