import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import RagError
from tunesmith.retrieval.document import ChunkConfig, Cutter, SourceDocument
from tunesmith.retrieval.read import read_document
from tunesmith.retrieval.readers import read_csv

WORDS = st.lists(
    st.sampled_from(["tea", "고양이", "x.", "\n\n", "# H\n", "- a\n", "é"]), min_size=1
)


@given(words=WORDS, name=st.sampled_from(["a.md", "a.txt", "a.py"]))
@settings(max_examples=40, deadline=None)
def test_passages_stand_in_the_text_at_their_offsets_and_lose_no_word(toy_model, words, name):
    text = " ".join([*words, "end"])
    document = read_document(name, text.encode())
    chunks = Cutter(toy_model, ChunkConfig(12, 3)).cut(document)
    covered = set()
    for chunk in chunks:
        assert document.text[chunk.start : chunk.stop] == chunk.text
        assert len(chunk.text.split()) <= 12
        covered |= set(range(chunk.start, chunk.stop))
    assert all(i in covered for i, letter in enumerate(document.text) if not letter.isspace())


def test_passages_longer_than_the_tokenizer_cuts_at_are_measured_whole(toy_model):
    text = "word " * 100
    chunks = Cutter(toy_model, ChunkConfig(30, 0)).cut(SourceDocument(text, "text"))
    assert [len(chunk.text.split()) for chunk in chunks] == [30, 30, 30, 10]


def test_passages_overlap(toy_model):
    text = ". ".join(f"This is sentence number {i}" for i in range(20))
    chunks = Cutter(toy_model, ChunkConfig(20, 8)).cut(SourceDocument(text, "text"))
    assert all(b.start < a.stop for a, b in itertools.pairwise(chunks))


def test_a_passage_is_cited_with_the_page_that_it_is_on(toy_model):
    text = "One slide.\n\n\n\nAnother slide."
    chunks = Cutter(toy_model, ChunkConfig(50, 0)).cut(
        SourceDocument(text, "pdf", pages=[0, 12, 14])
    )
    assert [(chunk.text, chunk.page) for chunk in chunks] == [
        ("One slide.", 1),
        ("Another slide.", 3),
    ]
    for chunk in chunks:
        assert text[chunk.start : chunk.stop] == chunk.text


def test_rows_are_not_joined(toy_model):
    chunks = Cutter(toy_model, ChunkConfig(50, 0)).cut(read_csv(b"a,b\n1,2\n3,4\n"))
    assert [(c.text, c.heading) for c in chunks] == [
        ("a: 1\nb: 2", "row 1"),
        ("a: 3\nb: 4", "row 2"),
    ]


def test_an_overlap_as_long_as_a_passage_is_refused():
    with pytest.raises(RagError, match="cannot share 20"):
        ChunkConfig(20, 20)


def test_a_model_without_a_fast_tokenizer_is_refused(tmp_path):
    with pytest.raises(RagError, match=r"no tokenizer\.json"):
        Cutter(tmp_path, ChunkConfig())
