"""A run's mirror is always a state of it from which it can be resumed, wherever a copy was cut."""

import contextlib
import shutil
from pathlib import Path

import fsspec
import pytest

from tests.runs.tiny import config
from tunesmith.core.errors import RunError, StorageError
from tunesmith.core.progress import SILENT, Notice, Progress
from tunesmith.core.remote import open_storage, sizes_below
from tunesmith.runs.mirror import Mirror, copy_ended, pulled
from tunesmith.runs.run import resume_run, train_run
from tunesmith.training.events import Planned, Saved

URL = "memory://bucket/runs/x"
RESULT = ("adapter_model.safetensors", "adapter_config.json")


class PulledOut(Exception):
    """Ends a run, or a copy, as a power cut does."""


@pytest.fixture
def storage(home):
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


@pytest.fixture
def folder(tmp_path):
    """A run's folder with one checkpoint."""
    run = tmp_path / "run"
    write(run, **{"config.yaml": f"data: {{train: r.jsonl}}\nout: {run}\nmirror: {URL}\n"})
    write(run, **{"plan.json": "{}", ".lock": "", "checkpoints/.tmp-step-00000004/state.json": ""})
    return step(run, 2)


def write(run, **files):
    for name, text in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)


def step(run, number):
    write(
        run,
        **{
            f"checkpoints/step-{number:08d}/trained.safetensors": f"tensors {number}",
            f"checkpoints/step-{number:08d}/state.json": f"{number}",
            "metrics.jsonl": f"{number}",
        },
    )
    return run


def texts(run):
    return {
        str(path.relative_to(run)): path.read_text()
        for path in run.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(run).parts)
    }


def there(storage):
    prefix = "/bucket/runs/x/"
    return {n.removeprefix(prefix): storage.cat_file(n).decode() for n in storage.find("/")}


def test_the_copy_is_the_folder_and_stays_so(storage, folder):
    mirror = Mirror(folder, URL)
    mirror.push()
    assert there(storage) == texts(folder)
    step(folder, 4)
    shutil.rmtree(folder / "checkpoints" / "step-00000002")
    mirror.push()
    assert there(storage) == texts(folder)
    storage.rm_file("/bucket/runs/x/plan.json")  # by somebody else
    mirror.push()
    assert there(storage) == texts(folder)


def test_only_what_changed_is_copied_in_another_process_too(storage, folder, monkeypatch):
    Mirror(folder, URL).push()
    put = []
    real = type(storage).put_file
    monkeypatch.setattr(
        type(storage), "put_file", lambda self, a, b: (put.append(b), real(self, a, b))
    )
    step(folder, 4)
    Mirror(folder, URL).push()
    assert [Path(name).name for name in put] == [
        "trained.safetensors",
        "metrics.jsonl",
        "state.json",
    ]


def test_what_others_put_there_stays(storage, folder):
    storage.pipe("/bucket/runs/x/note.txt", b"mine")
    Mirror(folder, URL).push()
    Mirror(folder, URL).push()
    assert there(storage)["note.txt"] == "mine"


@pytest.mark.parametrize("operations", range(8))
def test_a_copy_that_is_cut_off_anywhere_is_an_older_state(
    storage, folder, tmp_path, monkeypatch, operations
):
    Mirror(folder, URL).push()
    step(folder, 4)
    shutil.rmtree(folder / "checkpoints" / "step-00000002")
    left = [operations]
    for name in ("put_file", "rm_file"):
        real = getattr(type(storage), name)

        def cut(self, *words, real=real):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(self, *words)

        monkeypatch.setattr(type(storage), name, cut)
    with contextlib.suppress(KeyboardInterrupt):
        Mirror(folder, URL).push()
    folder.rename(tmp_path / "away")
    run = pulled(URL, SILENT)
    for kept in (run / "checkpoints").glob("step-*"):
        number = int(kept.name[-8:])
        assert {p.name: p.read_text() for p in kept.iterdir()} == {
            "state.json": f"{number}",
            "trained.safetensors": f"tensors {number}",
        }
    assert list((run / "checkpoints").glob("step-*"))


def test_a_newer_folder_here_is_not_replaced_and_an_older_one_is(storage, folder):
    Mirror(folder, URL).push()
    step(folder, 4)
    assert pulled(URL, SILENT) == folder
    assert (folder / "checkpoints" / "step-00000004").is_dir()
    Mirror(folder, URL).push()
    shutil.rmtree(folder / "checkpoints" / "step-00000004")
    pulled(URL, SILENT)
    assert (folder / "checkpoints" / "step-00000004").is_dir()


def test_another_run_in_the_way_is_not_replaced(storage, folder):
    Mirror(folder, URL).push()
    write(folder, **{"config.yaml": "data: {train: other.jsonl}\n"})
    with pytest.raises(RunError, match="is in the way"):
        pulled(URL, SILENT)


def test_a_place_without_a_run_is_refused(storage):
    storage.pipe("/bucket/runs/x/note.txt", b"mine")
    with pytest.raises(RunError, match=r"holds no run \(no config.yaml\)"):
        pulled(URL, SILENT)


def refuse(*_, **__):
    raise PermissionError("Access Denied")


def test_storage_that_refuses_ends_a_run_before_its_first_step_and_later_is_reported(
    storage, folder, monkeypatch
):
    monkeypatch.setattr(type(storage), "put_file", refuse)
    heard = []
    mirror, progress = Mirror(folder, URL), Progress(heard.append)
    with pytest.raises(StorageError, match=r"cannot be written: Access Denied\. Check the URL"):
        mirror.on_event(Planned(1, 0, 1, 1, 1, 1, 1.0), progress)
    mirror.on_event(Saved(2, "x"), progress)
    (notice,) = heard
    assert isinstance(notice, Notice)
    assert notice.message == (
        f"{URL}: cannot be written: Access Denied. The run's folder is not copied; the next "
        "checkpoint tries again"
    )


def test_a_last_copy_that_fails_promises_no_further_checkpoint(storage, folder, monkeypatch):
    monkeypatch.setattr(type(storage), "put_file", refuse)
    heard = []
    Mirror(folder, URL).try_push(Progress(heard.append), is_last=True)
    assert heard[0].message.endswith(f"`tunesmith train --resume {folder}` copies it again")


def test_a_run_that_is_refused_at_its_first_step_frees_its_mirror(storage, tmp_path, monkeypatch):
    there = []

    def refused(*_):
        there.append(sizes_below(*open_storage(URL)))
        raise RunError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("tunesmith.training.loop.add_gradients", refused)
        with pytest.raises(RunError, match="no room"):
            train_run(config(tmp_path, mirror=URL))
    assert "config.yaml" in there[0]
    assert sizes_below(*open_storage(URL)) == {}
    train_run(config(tmp_path, mirror=URL))


def test_a_run_is_resumed_on_another_machine_in_the_same_bytes(storage, tmp_path):
    whole = train_run(config(tmp_path, out=str(tmp_path / "whole")))
    mirrored = config(tmp_path, mirror=URL)

    def until(event):
        if isinstance(event, Saved) and event.step == 6:
            raise PulledOut  # after that of step 4 was copied

    with pytest.raises(PulledOut):
        train_run(mirrored, progress=Progress(until))
    with pytest.raises(RunError, match="holds a run already"):
        train_run(config(tmp_path, mirror=URL, out=str(tmp_path / "other")))
    shutil.rmtree(tmp_path / "run")
    resumed = resume_run(pulled(URL, SILENT))
    copy_ended(tmp_path / "run", SILENT)
    assert resumed.steps == whole.steps
    for name in RESULT:
        ours, theirs = (tmp_path / run / "adapter" / name for run in ("run", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
        assert storage.cat_file(f"/bucket/runs/x/adapter/{name}") == theirs.read_bytes()
