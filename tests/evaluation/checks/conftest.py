"""A tiny encoder in the format of transformers, and a judge that listens on this machine."""

import pytest
import torch

from tests.evaluation.checks.every_kind import WITHOUT_FILES, with_files
from tests.judging_server import JudgingServer

WORDS = ["cat", "dog", "sat", "on", "the", "mat", "good", "bad", "a", "##s", ".", "고", "양"]


@pytest.fixture(scope="session")
def embedder_folder(tmp_path_factory):
    """A BERT of random weights with a vocabulary of a few words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("embedder")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture
def every_kind(tmp_path, embedder_folder):
    """Settings of each kind."""
    return (*WITHOUT_FILES, *with_files(tmp_path, embedder_folder))


@pytest.fixture
def judging():
    """A judge that listens on this machine, as a test tells it to."""
    with JudgingServer() as server:
        yield server
