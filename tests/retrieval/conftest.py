"""A toy embedding model, and a folder of documents with a store for them."""

import importlib.util

import pytest

from tests.retrieval.toy import ToyEmbedder, toy_folder
from tunesmith.retrieval.document import ChunkConfig
from tunesmith.retrieval.index import IndexedFolder, index

# Whoever has not installed the extra `rag` (it is part of `test`) runs the other tests.
if any(importlib.util.find_spec(name) is None for name in ("lancedb", "ir_measures")):
    collect_ignore_glob = ["test_*.py", "read/test_*.py"]


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    return toy_folder(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def embedder(toy_model):
    return ToyEmbedder(toy_model)


def write_documents(folder):
    """Three documents about different things."""
    folder.mkdir()
    (folder / "leave.md").write_text("# Leave\n\nEvery employee has thirty days of leave.\n")
    (folder / "travel.txt").write_text("Train tickets are paid by the company.\n")
    (folder / "pets.txt").write_text("Dogs may come to the office on Fridays.\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_documents(tmp_path / "docs")


@pytest.fixture
def indexed(tmp_path, folder, embedder):
    """Indexes the folder into the store, again and again."""

    def go(chunk_config=ChunkConfig(40, 8), **options):  # noqa: B008  # frozen
        source = IndexedFolder(folder, "toy", lambda: embedder, chunk_config)
        return index(source, str(tmp_path / "store"), **options)

    go.uri = str(tmp_path / "store")
    return go
