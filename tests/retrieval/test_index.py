import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.retrieval.toy import encrypted_pdf, pdf
from tunesmith.core.errors import RagError
from tunesmith.core.progress import Progress
from tunesmith.retrieval import index as index_module
from tunesmith.retrieval.document import ChunkConfig
from tunesmith.retrieval.passage import Filter
from tunesmith.retrieval.read import Reading
from tunesmith.retrieval.store import open_store


def texts(indexed, **where):
    store = open_store(indexed.uri)
    found = store.matching("leave train dogs cats page secret", 50, Filter(**where).sql)
    return sorted(match.passage.text for match in found)


def test_a_second_index_of_the_same_folder_embeds_nothing(indexed, embedder):
    first = indexed()
    assert (first.documents, first.added, first.chunks) == (3, 3, 3)
    embedder.embedded.clear()
    second = indexed()
    assert (second.documents, second.added, second.changed, second.removed) == (3, 0, 0, 0)
    assert embedder.embedded == []


def test_only_what_changed_is_embedded_and_what_is_gone_leaves(indexed, folder, embedder):
    indexed()
    (folder / "pets.txt").write_text("Cats may come, too.\n")
    (folder / "travel.txt").unlink()
    (folder / "new.txt").write_text("Leave early.\n")
    embedder.embedded.clear()
    done = indexed()
    assert (done.documents, done.added, done.changed, done.removed) == (3, 1, 1, 1)
    assert set(embedder.embedded[1:]) == {"Cats may come, too.", "Leave early."}
    assert "Train tickets are paid by the company." not in texts(indexed)
    assert "Cats may come, too." in texts(indexed)
    assert not [text for text in texts(indexed) if text.startswith("Dogs")]


def test_the_same_text_in_two_files_is_two_documents(indexed, folder):
    (folder / "copy.txt").write_bytes((folder / "pets.txt").read_bytes())
    assert indexed().documents == 4
    (folder / "pets.txt").unlink()
    assert indexed().documents == 3
    assert len([text for text in texts(indexed) if text.startswith("Dogs")]) == 1


def test_files_that_cannot_be_read_are_told_and_the_rest_is_indexed(indexed, folder, monkeypatch):
    (folder / "empty.txt").touch()
    (folder / "locked.pdf").write_bytes(encrypted_pdf())
    (folder / "good.pdf").write_bytes(pdf("a page"))
    (folder / "picture.png").write_bytes(b"\x89PNG")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(200 * 2**20)
    done = indexed()
    codes = {name: refused.code for name, refused in done.refused.items()}
    assert codes == {"empty.txt": "empty", "locked.pdf": "encrypted", "huge.txt": "too_large"}
    assert all(refused.message and refused.remedy for refused in done.refused.values())
    assert done.left_out == {".png": 1}
    assert done.documents == 4


def test_a_file_that_can_no_longer_be_read_leaves(indexed, folder):
    (folder / "a.pdf").write_bytes(pdf("a page"))
    assert indexed().documents == 4
    (folder / "a.pdf").write_bytes(encrypted_pdf())
    done = indexed()
    assert (done.documents, done.removed, list(done.refused)) == (3, 1, ["a.pdf"])


def test_a_file_that_could_not_be_read_is_told_and_not_tried_until_it_changes(
    indexed, folder, embedder, monkeypatch
):
    (folder / "a.pdf").write_bytes(encrypted_pdf())
    first = indexed()
    monkeypatch.setattr(index_module, "read_files", None)  # nothing is read
    second = indexed()
    assert second.refused == first.refused != {}
    monkeypatch.undo()
    embedder.embedded.clear()
    assert indexed(reading=Reading(retry_failed=True)).refused == first.refused
    assert len(embedder.embedded) == 1  # only whether it is the same model
    (folder / "a.pdf").write_bytes(pdf("a page"))
    assert (indexed().refused, indexed().documents) == ({}, 4)


def test_hidden_files_links_and_the_store_itself_are_no_documents(indexed, folder, tmp_path):
    (folder / ".git").mkdir()
    (folder / ".git" / "x.txt").write_text("x")
    (folder / ".hidden.txt").write_text("x")
    (folder / "link.txt").symlink_to(folder / "pets.txt")
    (folder / "loop").symlink_to(folder)
    assert indexed().documents == 3


def test_what_was_written_before_a_stop_is_not_embedded_again(
    indexed, folder, embedder, monkeypatch
):
    monkeypatch.setattr(index_module, "CHUNKS_AT_ONCE", 2)
    (folder / "long.txt").write_text("\n\n".join(f"Paragraph {i}." for i in range(9)))

    class Stop(Exception):
        pass

    def stop(_):
        events.append(1)
        if len(events) > 3:  # of the beginning and of two chunks each
            raise Stop

    events = []
    monkeypatch.setattr("tunesmith.core.progress.SECONDS_BETWEEN_REPORTS", 0.0)

    with pytest.raises(Stop):
        indexed(ChunkConfig(4, 0), progress=Progress(stop))
    before = {
        match.passage.text
        for match in open_store(indexed.uri).nearest(embedder.embed(["paragraph"])[0], 50)
    }
    assert len(before) == 6
    embedder.embedded.clear()
    done = indexed(ChunkConfig(4, 0))
    assert not before & set(embedder.embedded)
    assert done.documents == 4
    stored = open_store(indexed.uri).documents().values()
    assert all(document.complete for document in stored)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.retrieval.toy import ToyEmbedder
    from tunesmith.core import progress
    from tunesmith.core.progress import Progress
    from tunesmith.retrieval import index as module
    from tunesmith.retrieval.document import ChunkConfig

    module.CHUNKS_AT_ONCE = 2
    folder, store, model = map(Path, sys.argv[1:])
    source = module.IndexedFolder(folder, "toy", lambda: ToyEmbedder(model), ChunkConfig(40, 8))
    progress.SECONDS_BETWEEN_REPORTS = 0.0
    die = lambda event: event.done and os.kill(os.getpid(), signal.SIGKILL)
    module.index(source, str(store), progress=Progress(die))
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_index_leaves_a_store_that_opens_and_goes_on(indexed, folder, toy_model, embedder):
    words = [sys.executable, "-c", textwrap.dedent(KILLED), folder, indexed.uri, toy_model]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert len(open_store(indexed.uri).documents()) == 2
    assert len(texts(indexed)) == 2  # words are found already
    done = indexed()
    assert (done.documents, done.added, done.embedded_chunks) == (3, 1, 1)


def test_another_folder_is_not_brought_into_a_store(indexed, tmp_path, folder, embedder):
    indexed()
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("a")
    source = index_module.IndexedFolder(other, "toy", lambda: embedder, ChunkConfig(40, 8))
    with pytest.raises(RagError, match="would all leave"):
        index_module.index(source, indexed.uri)
    folder.rename(tmp_path / "moved")  # now it is the folder that moved, with other content
    assert index_module.index(source, indexed.uri).documents == 1


def test_a_folder_is_the_same_by_any_of_its_names(indexed, tmp_path, folder, embedder):
    indexed()
    (tmp_path / "link").symlink_to(folder)
    for name in (folder / ".." / folder.name, tmp_path / "link"):
        source = index_module.IndexedFolder(name, "toy", lambda: embedder, ChunkConfig(40, 8))
        assert index_module.index(source, indexed.uri).embedded_chunks == 0


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_folder_that_lost_its_documents_does_not_empty_the_store(indexed, folder, is_damaged):
    held = indexed().chunks
    for path in list(folder.iterdir()):
        path.unlink()
    if is_damaged:
        (folder / "leave.md").write_bytes(b"a\0b")
    for _ in range(2):
        with pytest.raises(RagError, match="holds no document"):
            indexed()
        assert open_store(indexed.uri).count() == held


def test_other_settings_need_another_store(indexed):
    indexed()
    with pytest.raises(RagError, match="40 tokens with 8 shared"):
        indexed(ChunkConfig(50, 8))


def test_a_model_that_gives_other_vectors_is_refused(indexed, folder, embedder, monkeypatch):
    indexed()
    (folder / "new.txt").write_text("new")
    embed = embedder.embed
    monkeypatch.setattr(embedder, "embed", lambda texts, **_: -embed(texts), raising=False)
    with pytest.raises(RagError, match="not the model"):
        indexed()


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_documents_is_refused(tmp_path, embedder, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").touch()
    source = index_module.IndexedFolder(tmp_path / name, "toy", lambda: embedder)
    with pytest.raises(RagError) as refused:
        index_module.index(source, str(tmp_path / "store"))
    assert refused.value.code in ("no_folder", "no_documents")


def test_only_one_process_writes(indexed):
    from tunesmith.retrieval.store import writing

    with writing(indexed.uri), pytest.raises(RagError, match="Another process"):
        # Another lock object stands for another process.
        indexed()
