"""A run's folder is taken where nothing lies but what a killed process left of an empty one."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import RunError
from tunesmith.runs.folder import RunFolder, alone
from tunesmith.runs.own_folder import claim_folder, own_folder, unfinished_before
from tunesmith.training.events import HeldOut


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_whose_creation_was_killed_is_free_and_swept(tmp_path):
    for name in (".lock", ".tmp-config.yaml-0123abcd"):
        (tmp_path / name).touch()
    RunFolder(tmp_path).create({"model": "m"})
    assert names(tmp_path) == [".lock", "config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "model: m\n"


def test_a_line_that_was_cut_off_takes_no_later_one_with_it(tmp_path):
    folder = RunFolder(tmp_path)
    folder.record(HeldOut(2, 1.0, best=True))
    for path in (folder.events, folder.metrics):
        with path.open("a") as file:
            file.write('{"event": "held')
    folder.cut(2)
    folder.record(HeldOut(4, 0.5, best=True))
    assert folder.held_out_losses() == {2: 1.0, 4: 0.5}
    assert folder.metrics.read_text() == ""


@pytest.mark.parametrize("name", ["thesis.txt", ".tmp-thesis", ".hidden"])
def test_files_of_others_are_left(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        RunFolder(tmp_path).create({"model": "m"})
    assert names(tmp_path) == [name]


def test_of_two_who_create_a_run_at_once_one_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run").mkdir()
    with alone(folder.path), pytest.raises(RunError, match="another process"):
        folder.create({"model": "m"})
    assert not folder.config.exists()


def test_a_refused_run_goes_while_another_process_asks_whether_it_is_held(tmp_path, monkeypatch):
    """Who asks creates the lock anew, in the middle of the removal too."""
    folder = RunFolder(tmp_path / "run")
    folder.create({"model": "m"})
    remove = shutil.rmtree

    def asked_meanwhile(path, **options):
        if path.exists():
            (folder.path / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (folder.path / ".lock").touch()
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", asked_meanwhile)
    with alone(folder.path):
        folder.discard()
    assert not folder.config.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_misspelled_run_names_the_one_beside_it(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").touch()
    with pytest.raises(RunError, match=r"Did you mean .*mine"):
        RunFolder(tmp_path / "mien").require_run()
    with pytest.raises(RunError, match="runs list"):
        RunFolder(tmp_path / "another").require_run()


def test_a_run_in_the_working_folder_or_where_none_may_be_renamed_is_discarded_too(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path())
    folder.create({})
    folder.discard()
    assert list(tmp_path.iterdir()) == []
    held = RunFolder(tmp_path / "held")
    held.create({})

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "rename", refused)
    held.discard()
    assert list(held.path.iterdir()) == []


def test_runs_without_a_folder_take_one_at_once_and_leave_no_empty_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with own_folder(None, "rows-lora") as first, own_folder(None, "rows-lora") as second:
        assert [str(first), str(second)] == ["runs/rows-lora", "runs/rows-lora-2"]
        RunFolder(second).create({})
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["rows-lora-2"]
    with own_folder(tmp_path / "mine", "rows-lora") as given:
        given.mkdir()
    assert given.is_dir()


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="cannot be made"):
        claim_folder("rows-lora")


def test_the_last_stopped_run_of_the_same_name_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = RunConfig.model_validate({"data": {"train": "rows.jsonl"}})
    assert unfinished_before(wanted) is None
    first, second, third = (RunFolder(claim_folder("rows-lora")) for _ in range(3))
    for run, reason in ((first, "stopped"), (second, None), (third, "done")):
        run.metrics.write_text('{"step": 1}\n')
        if reason is not None:
            run.summary.write_text(json.dumps({"reason": reason, "steps": 1}))
        run.config.write_text("{}")
    assert unfinished_before(wanted) == second.path
    with alone(second.path):  # it runs now
        assert unfinished_before(wanted) == first.path
    second.summary.write_text(json.dumps({"reason": "early", "steps": 1}))
    assert unfinished_before(wanted) == first.path
    assert unfinished_before(wanted.model_copy(update={"out": "elsewhere"})) is None
