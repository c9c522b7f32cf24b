"""A packed E5 of random weights becomes a model that transformers reads, with the same numbers."""

import struct

import numpy as np
import pytest
import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.e5 import convert_e5, dequantize_q4_0
from tunesmith.models.embedder import Embedder, load_embedder

WIDTH, LAYERS, HEADS, INNER, WORDS, LONGEST = 32, 2, 2, 64, 12, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁ab", "고", "양", "▁고양", "<mask>"]


def quantized(rng, rows, columns):
    """Random Q4_0 bytes of [rows, columns], and what they mean, computed weight by weight."""
    blocks = rows * columns // 32
    scales = rng.normal(size=blocks).astype("<f2")
    halves = rng.integers(0, 256, (blocks, 16), dtype=np.uint8)
    meant = np.array(
        [
            [(byte & 15) - 8 for byte in half] + [(byte >> 4) - 8 for byte in half]
            for half in halves.tolist()
        ],
        dtype=np.float32,
    ) * scales.astype(np.float32).reshape(-1, 1)
    data = b"".join(s.tobytes() + h.tobytes() for s, h in zip(scales, halves, strict=True))
    return data, meant.reshape(rows, columns)


def tensors(rng):
    def plain(name, *shape):
        values = (rng.normal(size=shape) * 0.1).astype("<f4")
        return name, 0, values.tobytes(), values

    def packed(name, rows, columns):
        data, values = quantized(rng, rows, columns)
        return name, 1, data, values

    yield packed("emb.word", WORDS, WIDTH)
    yield plain("emb.pos", LONGEST, WIDTH)
    yield plain("emb.type", 2, WIDTH)
    yield plain("emb.ln.w", WIDTH)
    yield plain("emb.ln.b", WIDTH)
    for layer in range(LAYERS):
        for name, rows, columns in (
            ("q", WIDTH, WIDTH),
            ("k", WIDTH, WIDTH),
            ("v", WIDTH, WIDTH),
            ("ao", WIDTH, WIDTH),
            ("fi", INNER, WIDTH),
            ("fo", WIDTH, INNER),
        ):
            yield packed(f"l{layer}.{name}.w", rows, columns)
            yield plain(f"l{layer}.{name}.b", rows)
        for name in ("aln", "oln"):
            yield plain(f"l{layer}.{name}.w", WIDTH)
            yield plain(f"l{layer}.{name}.b", WIDTH)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The file, and its tensors by name."""
    rng = np.random.default_rng(0)
    found = list(tensors(rng))
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7i", WIDTH, LAYERS, HEADS, INNER, WORDS, LONGEST, 2)
    head += struct.pack("<fi", 1e-12, 32)
    blob = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, blob)]).astype("<u4")
    scores = -np.arange(len(PIECES), dtype="<f4")
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(offsets[-1]))
    head += offsets.tobytes() + scores.tobytes() + b"".join(blob)
    head += struct.pack("<iI", 0, 3) + b"map"  # skipped whatever it holds
    listed = sum(2 + len(name) + 21 for name, *_ in found)
    at = len(head) + 4 + listed
    directory, body = struct.pack("<i", len(found)), b""
    for name, kind, data, values in found:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values.size, at + len(body), len(data))
        body += data
    file = tmp_path_factory.mktemp("packed") / "e5.bin"
    file.write_bytes(head + directory + body)
    return file, {name: values for name, *_, values in found}


@pytest.fixture(scope="module")
def folder(packed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("e5")
    convert_e5(packed[0], folder)
    return folder


def test_every_tensor_is_where_transformers_looks_for_it(packed, folder):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype="float32")
    state = model.state_dict()
    found = packed[1]
    same = {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.position_embeddings.weight": "emb.pos",
        "embeddings.LayerNorm.bias": "emb.ln.b",
        "encoder.layer.1.attention.self.key.weight": "l1.k.w",
        "encoder.layer.0.attention.output.LayerNorm.weight": "l0.aln.w",
        "encoder.layer.1.intermediate.dense.weight": "l1.fi.w",
        "encoder.layer.1.output.dense.weight": "l1.fo.w",
        "encoder.layer.0.output.LayerNorm.bias": "l0.oln.b",
    }
    for theirs, ours in same.items():
        assert torch.allclose(state[theirs], torch.tensor(found[ours]), rtol=1e-3, atol=1e-3), ours


def test_q4_0_is_read_as_it_is_defined():
    data, meant = quantized(np.random.default_rng(1), 3, 64)
    assert np.array_equal(dequantize_q4_0(np.frombuffer(data, np.uint8)), meant.ravel())


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("ab", [0, 7, 2]),
        ("고양  a\n", [0, 10, 4, 5, 4, 2]),
        ("ａｂ", [0, 7, 2]),
        ("z", [0, 4, 3, 2]),
    ],
)
def test_the_tokenizer_is_unigram_with_its_normalisation(folder, text, ids):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer(text)["input_ids"] == ids


def test_questions_and_documents_are_read_with_their_prompts(folder):
    model = load_embedder(str(folder))
    assert (model.query, model.document, model.longest) == ("query: ", "passage: ", LONGEST)
    asked, told = model.embed(["ab"], as_query=True), model.embed(["ab"])
    bare = Embedder(folder, LONGEST)
    assert np.allclose(asked, bare.embed(["query: ab"]))
    assert np.allclose(told, bare.embed(["passage: ab"]))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match="not a packed E5"):
        convert_e5(tmp_path / "x.bin", tmp_path)
