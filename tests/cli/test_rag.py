"""The commands of retrieval, with a toy in the place of the embedding model."""

import subprocess
import sys

import pytest

from tests.conversation.retrieving import fact_store, facts_file
from tests.retrieval.conftest import write_documents
from tests.retrieval.toy import ToyEmbedder, encrypted_pdf, toy_folder
from tests.runs.tiny import base_folder
from tunesmith.conversation import documents

pytest.importorskip("lancedb", reason="the extra `rag` is not installed")


@pytest.fixture
def places(tmp_path, monkeypatch):
    model = toy_folder(tmp_path / "model")
    monkeypatch.setattr(documents, "load_embedder", lambda *_, **__: ToyEmbedder(model))
    return write_documents(tmp_path / "docs"), tmp_path / "store"


def test_a_folder_is_indexed_and_what_could_not_be_read_is_told(tunesmith, places):
    folder, store = places
    (folder / "locked.pdf").write_bytes(encrypted_pdf())
    (folder / "picture.png").touch()
    ended = tunesmith("rag", "index", folder, "--store", store, "--json")
    assert ended.status == 0
    document = ended.document
    counts = [document[key] for key in ("documents", "chunks", "added", "removed")]
    assert counts == [3, 3, 3, 0]
    assert document["store"] == str(store)
    assert [each["code"] for each in document["refused"]] == ["encrypted"]
    assert document["left_out"] == {".png": 1}
    assert "locked.pdf is encrypted" in ended.err
    again = tunesmith("rag", "index", folder, "--store", store)
    assert "3 documents, 3 passages (0 added, 0 changed, 0 removed" in again.out
    assert "1 .png" in again.out


def test_what_the_documents_do_not_say_is_refused_without_a_model(tunesmith, places):
    folder, store = places
    tunesmith("rag", "index", folder, "--store", store)
    words = ("rag", "ask", "What is the moon made of?", "--store", store, "--threshold", 0.9)
    document = tunesmith(*words, "--json").document
    assert (document["refused"], document["sources"]) == (True, [])
    shown = tunesmith(*words)
    assert shown.out.strip() == document["answer"] == "The documents do not say."
    assert f"confidence {document['confidence']:.2f}, threshold 0.90" in shown.err
    assert "near: " in tunesmith(*words, "--explain").out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("rag", "ask", "x", "--store", "nowhere"), 1),
        (("rag", "ask", "x", "--store", "nowhere", "--where", "colour=red"), 1),
        (("rag", "index", "nowhere", "--store", "s"), 1),
        (("rag", "index", "nowhere", "--store", "s", "--overlap", "200"), 1),
        (("rag", "index", "nowhere"), 2),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_way_out(
    tunesmith, tmp_path, monkeypatch, words, status
):
    monkeypatch.chdir(tmp_path)
    ended = tunesmith(*words, "--json")
    assert ended.status == status
    assert ended.document["error"]["remedy"]


def test_without_the_extra_its_name_is_told(tunesmith, places, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    folder, store = places
    ended = tunesmith("rag", "index", folder, "--store", store, "--json")
    error = ended.document["error"]
    assert (ended.status, error["code"]) == (1, "not_installed")
    assert "tunesmith[rag]" in error["remedy"]


def test_what_is_indexed_already_loads_no_model(tunesmith, places):
    folder, store = places
    tunesmith("rag", "index", folder, "--store", store)
    code = (
        "import sys\nfrom tunesmith.cli.main import main\n"
        f"assert main(['rag', 'index', {str(folder)!r}, '--store', {str(store)!r}]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def facts(tmp_path, monkeypatch):
    """A store, a base, and a file of questions."""
    store, model = fact_store(tmp_path / "facts")
    monkeypatch.setattr(documents, "load_embedder", lambda *_, **__: ToyEmbedder(model))
    base = base_folder(tmp_path / "base", max_position_embeddings=2048)
    return store, base, facts_file(tmp_path / "facts.jsonl", topic="one")


def test_questions_become_rows_that_data_check_accepts(tunesmith, tmp_path, facts):
    store, base, file = facts
    out = tmp_path / "rows"
    words = ("rag", "dataset", file, "--store", store, "--model", base)
    ended = tunesmith(*words, "--out", out, "--unanswerable", 0.5, "--distractors", 0.3, "--json")
    assert (ended.status, ended.document["left_out"]["no_passage"]) == (0, [])
    assert ended.document["next"][0].startswith("tunesmith train --data")
    checked = tunesmith("data", "check", out / "train.jsonl", "--data.eval", out / "eval.jsonl")
    assert checked.status == 0
    shown = tunesmith(*words, "--out", tmp_path / "again", "--share", 0.3)
    assert "right passage" in shown.out


def test_what_retrieval_added_is_said(tunesmith, tmp_path, facts):
    store, base, file = facts
    words = ("rag", "evaluate", file, "--store", store, "--model", base, "--max-new-tokens", 2)
    ended = tunesmith(*words, "--out", tmp_path / "out")
    assert ended.status == 0
    assert "Retrieval alone" in ended.out
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_evaluation_without_a_name_takes_the_next_free_one(
    tunesmith, tmp_path, facts, monkeypatch
):
    store, base, file = facts
    monkeypatch.chdir(tmp_path)
    words = ("rag", "evaluate", file, "--store", store, "--model", base, "--max-new-tokens", 2)
    reports = [tunesmith(*words, "--json").document["report"] for _ in range(2)]
    assert reports == [f"runs/rag-evaluation{number}/report.html" for number in ("", "-2")]


def test_old_flags_work_with_a_warning(tunesmith, tmp_path, facts):
    store, base, file = facts
    words = ("rag", "dataset", file, "--store", store, "--model", base, "--out", tmp_path / "o")
    ended = tunesmith(*words, "--none", 0.9)
    assert "--none is now called --unanswerable" in ended.err
    assert "do not sum to 1" in ended.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--unanswerable", 0.9), 1, "do not sum to 1"),
        (("--share", 1), 2, "share must be"),
        (("--data.map", "question"), 2, "--data.map"),
        (("--data.map", "colour=red"), 1, "colour"),
        (("--group", "page"), 1, "page"),
        (("--group", "topic"), 1, "one group"),
    ],
)
def test_rows_that_cannot_be_made_are_refused(tunesmith, tmp_path, facts, words, status, said):
    store, base, file = facts
    command = ("rag", "dataset", file, "--store", store, "--model", base, "--out", tmp_path / "o")
    ended = tunesmith(*command, *words, "--json")
    assert ended.status == status
    assert said in ended.document["error"]["message"]
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("facts.jsonl", "--tries", 2), "tries: questions"),
        (("facts.jsonl", "--chunks", 2, "--top-k", 3), "chunks, top_k: questions"),
        (("--group", "title"), "columns and group"),
    ],
)
def test_settings_of_questions_that_come_otherwise_are_refused(tunesmith, tmp_path, words, told):
    ended = tunesmith(
        "rag", "dataset", *words, "--store", tmp_path, "--out", tmp_path / "out", "--json"
    )
    assert ended.status == 2
    assert told in ended.document["error"]["message"]


def test_a_mistyped_store_is_told_before_torch_is_loaded(tmp_path):
    words = ("-m", "tunesmith", "rag", "ask", "x", "--store", str(tmp_path / "nowhere"))
    command = [sys.executable, "-X", "importtime", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "holds no store" in ended.stderr
    assert "torch" not in {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
