import pytest

from tests.retrieval.conftest import write_documents
from tests.retrieval.toy import ToyEmbedder, toy_folder
from tunesmith.conversation import documents
from tunesmith.conversation.documents import IndexSettings, index_folder
from tunesmith.core.errors import RagError
from tunesmith.retrieval.document import ChunkConfig

pytest.importorskip("lancedb", reason="the extra `rag` is not installed")


def test_passages_that_the_model_reads_only_the_beginning_of_are_refused(tmp_path, monkeypatch):
    toy = ToyEmbedder(toy_folder(tmp_path / "model"), longest=30)
    monkeypatch.setattr(documents, "load_embedder", lambda *_, **__: toy)
    folder, store = write_documents(tmp_path / "docs"), str(tmp_path / "store")
    with pytest.raises(RagError, match="toy reads 30 tokens") as refused:
        index_folder(folder, store, IndexSettings("toy", ChunkConfig(31, 4)))
    assert "--chunk-tokens" in refused.value.remedy
    assert index_folder(folder, store, IndexSettings("toy", ChunkConfig(30, 4))).documents == 3
