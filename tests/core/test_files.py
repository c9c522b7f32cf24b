"""A file or folder has its new content or its old one, whatever happens while it is written."""

import contextlib
import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.source import modules
from tunesmith.core import files
from tunesmith.core.errors import RunError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def filled_with(text):
    def fill(folder):
        (folder / "a").write_text(text)

    return fill


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for text in ("one", "two"):
        files.publish(tmp_path / "deep" / "f", filled_with(text))
        assert (tmp_path / "deep" / "f" / "a").read_text() == text
    assert names(tmp_path / "deep") == ["f"]


@pytest.mark.parametrize("name", [".", "deep/..", None])
def test_the_working_folder_is_not_replaced(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    with pytest.raises(RunError, match="is the working folder"):
        files.require_new(Path(name or tmp_path))
    files.require_new(Path("deep"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupted_fill_leaves_what_was_there_and_nothing_else(tmp_path, stop):
    def fill(folder):
        (folder / "a").write_text("half")
        raise stop

    files.publish(tmp_path / "f", filled_with("one"))
    with pytest.raises(stop):
        files.publish(tmp_path / "f", fill)
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f" / "a").read_text() == "one"


def test_the_folder_before_comes_back_where_the_new_one_cannot_take_its_name(tmp_path, monkeypatch):
    files.publish(tmp_path / "f", filled_with("one"))
    rename = Path.rename

    def refuse(self, target):
        if self.name == ".tmp-f":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RunError, match=r"Input/output error\. .*resume"):
        files.publish(tmp_path / "f", filled_with("two"))
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f" / "a").read_text() == "one"


def test_what_a_killed_process_left_goes_and_a_lost_folder_comes_back(tmp_path):
    for name in (".tmp-f", ".tmp-old-g"):
        (tmp_path / name).mkdir()
    (tmp_path / ".tmp-t-0123").write_text("half")
    files.sweep(tmp_path)
    assert names(tmp_path) == ["g"]


def test_private_files_become_as_readable_as_their_folder(tmp_path):
    def fill(folder):
        filled_with("one")(folder)
        (folder / "a").chmod(0o600)

    files.publish(tmp_path / "f", fill)
    mode = (tmp_path / "f").stat().st_mode & 0o666
    assert (tmp_path / "f" / "a").stat().st_mode & 0o666 == mode


def test_a_text_is_replaced_or_left(tmp_path):
    path = tmp_path / "deep" / "t"
    files.write_text(path, "one")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "\ud800")
    assert path.read_text() == "one"
    assert names(path.parent) == ["t"]


def test_two_who_write_one_text_at_once_do_not_meet(tmp_path, monkeypatch):
    sync, path = files.sync, tmp_path / "t"

    def and_another(one):
        monkeypatch.setattr(files, "sync", sync)
        files.write_text(path, "another")
        sync(one)

    monkeypatch.setattr(files, "sync", and_another)
    files.write_text(path, "first")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["t"]


def test_what_a_kill_inside_left_goes_at_a_later_write(tmp_path):
    path = tmp_path / "t"
    killed_inside(files.write_text, path)
    (left,) = names(tmp_path)
    files.write_text(path, "one")
    assert names(tmp_path) == [left, "t"], "its process may be alive"
    day = time.time() - files.LEFT_SECONDS - 60
    os.utime(tmp_path / left, (day, day))
    files.write_text(path, "two")
    assert names(tmp_path) == ["t"]


def test_a_folder_that_is_being_filled_is_no_old_text(tmp_path):
    filling = tmp_path / ".tmp-f"
    filling.mkdir()
    day = time.time() - files.LEFT_SECONDS - 60
    os.utime(filling, (day, day))
    files.write_text(tmp_path / "t", "one")
    assert filling.is_dir()


def killed_inside(write, path):
    """A process of its own writes, and is killed before the file has its name."""

    def die(_):
        os.kill(os.getpid(), signal.SIGKILL)

    def run():
        files.sync = die
        write(path, "half")

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_text_gets_the_rights_that_any_new_file_gets(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    files.replace_text(tmp_path / "t", "")
    assert (tmp_path / "t").stat().st_mode == plain.stat().st_mode


def test_a_file_system_that_refuses_is_told_with_the_way_on(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/t: cannot be written: .*resume"):
        files.write_text(tmp_path / "file" / "t", "")


def test_a_text_and_its_folder_are_forced_to_the_disk(tmp_path, monkeypatch):
    forced = []
    monkeypatch.setattr("os.fsync", lambda handle: forced.append(os.fstat(handle).st_ino))
    path = tmp_path / "t"
    files.replace_text(path, "new")
    assert forced == [path.stat().st_ino, tmp_path.stat().st_ino]


def test_the_disk_is_forced_in_one_place_only():
    assert [module.where for module in modules() if "fsync(" in module.text] == [
        "src/tunesmith/core/files.py"
    ]


def test_a_published_file_is_the_new_one_or_the_old_one(tmp_path):
    path = tmp_path / "deep" / "a.bin"
    files.publish_file(path, lambda into: into.write_bytes(b"one"))
    with pytest.raises(ZeroDivisionError):
        files.publish_file(path, lambda into: into.write_bytes(b"two") / 0)
    assert path.read_bytes() == b"one"
    files.publish_file(path, lambda into: into.write_bytes(b"two"))
    assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == [("a.bin", b"two")]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        files.publish_file(tmp_path / "file" / "a.bin", lambda into: None)


@contextlib.contextmanager
def shell_limit(size):
    """What `ulimit -f` of the shell allows, in bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill_by_python(folder):
    (folder / "large").write_bytes(bytes(1 << 20))


def fill_by_safetensors(folder):
    save_file({"a": np.zeros(1 << 20, dtype=np.uint8)}, folder / "large.safetensors")


@pytest.mark.parametrize("fill", [fill_by_python, fill_by_safetensors])
def test_a_limit_of_the_shell_is_the_users_and_nothing_is_left(tmp_path, fill):
    with shell_limit(64 << 10), pytest.raises(RunError, match="File too large") as refused:
        files.publish(tmp_path / "new", fill)
    assert refused.value.code == "disk"
    assert "a limit of this shell (see `ulimit -f`)" in refused.value.message
    assert not list(tmp_path.iterdir())


def test_what_a_library_reports_of_the_file_system_is_known_by_its_number():
    quota = files.refusal_of(ValueError("I/O error: Disk quota exceeded (os error 122)"))
    assert quota is not None
    assert (quota.errno, files.reason_of(quota)) == (errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert files.refusal_of(ValueError("an error of another kind")) is None
    full = OSError(errno.ENOSPC, "No space left on device")
    assert files.refusal_of(full) is full


def test_files_that_the_shell_would_refuse_are_refused_before_they_are_written(tmp_path):
    files.require_file_size(tmp_path, 1 << 50, what="a checkpoint")  # no limit is set
    with shell_limit(1 << 20):
        files.require_file_size(tmp_path, 1 << 20, what="a checkpoint")
        with pytest.raises(RunError, match=r"a checkpoint is a file of 2\.1 MB, .*1\.0 MB"):
            files.require_file_size(tmp_path, 2 << 20, what="a checkpoint")
