"""Rows in object storage are the rows of the same files here, under their own names."""

import fsspec
import pytest

from tests.data.test_records import fill, row
from tunesmith.config import load_run_config
from tunesmith.data.read import SourceRequest, scan
from tunesmith.data.records import exists, files_of
from tunesmith.data.rows import behind_source, in_source
from tunesmith.data.token_cache import content_of
from tunesmith.runs.evaluated import _sha256_of_places


@pytest.fixture
def put(home, tmp_path):
    """Puts a folder into storage in memory; its URL."""

    def place(folder):
        system = fsspec.filesystem("memory")
        system.store.clear()
        for path in folder.rglob("*"):
            if path.is_file():
                system.pipe(f"/bucket/{path.relative_to(tmp_path)}", path.read_bytes())
        return f"memory://bucket/{folder.relative_to(tmp_path)}"

    return place


def test_rows_of_a_folder_keep_their_places(put, tmp_path):
    folder = fill(tmp_path / "rows", b_jsonl=row(2), a_jsonl=row(1) + "{\n", sub__c_jsonl=row(3))
    url = put(folder)
    here, there = scan(folder), scan(url)
    assert [each.messages for each in there.conversations] == [
        each.messages for each in here.conversations
    ]
    assert [(each.file, each.line) for each in there.conversations] == [
        (each.file.replace(str(folder), url), each.line) for each in here.conversations
    ]
    (fault,) = there.faults
    assert (fault.file, fault.line) == (f"{url}/a.jsonl", 2)
    assert behind_source(fault.file, url) == "/a.jsonl"
    assert in_source("/a.jsonl", url) == fault.file
    assert content_of(SourceRequest(url)).sha256 == content_of(SourceRequest(str(folder))).sha256


def test_a_file_is_read_under_its_url(put, tmp_path):
    url = put(fill(tmp_path / "rows", a_jsonl=row(1) + row(2))) + "/a.jsonl"
    assert exists(url)
    assert [(each.file, each.line) for each in scan(url).conversations] == [(url, 1), (url, 2)]
    assert [path.name for path in files_of(url)] == ["a.jsonl"]


def test_an_evaluation_rests_on_what_lies_in_storage_now(put, tmp_path):
    folder = fill(tmp_path / "rows", a_jsonl=row(1))
    data = load_run_config(None, {"data": {"train": put(folder), "eval": "here.jsonl"}}).data
    before = _sha256_of_places(data)
    assert len(before) == 1
    put(fill(folder, a_jsonl=row(2)))
    assert _sha256_of_places(data) != before


def test_a_missing_object_is_a_fault_of_its_url(put, tmp_path):
    url = put(fill(tmp_path / "rows", a_jsonl=row(1))) + "/none.jsonl"
    assert not exists(url)
    (fault,) = scan(url).faults
    assert (fault.file, fault.code, fault.message) == (url, "missing_file", "does not exist.")
    assert content_of(SourceRequest(url)) is None
