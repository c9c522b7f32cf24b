from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.retrieval.conftest import write_documents
from tests.retrieval.toy import ToyEmbedder
from tunesmith.core.errors import RagError, UsageError
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.passage import Filter, Passage, parse_filter
from tunesmith.retrieval.retrieve import (
    RRF_K,
    Hit,
    Ranked,
    SearchOptions,
    fuse,
    retrieve,
    with_neighbours,
    without_duplicates,
)
from tunesmith.retrieval.store import open_store


def passage(name, text="", **changes):
    values = {"id": name, "document": name, "source": f"{name}.txt", "part": 0, "parts": 1}
    values |= {"kind": "text", "heading": "", "page": None, "start": 0, "stop": len(text)}
    values["text"] = text or name
    return Passage(**values | changes)


def rows(names):
    return [(ord(name), 1.0 / (i + 1)) for i, name in enumerate(names)]


RANKING = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(dense=RANKING, text=RANKING)
def test_fused_scores_are_sums_of_reciprocal_ranks(dense, text):
    found = fuse(rows(dense), rows(text))
    slow = {
        name: sum(1 / (RRF_K + 1 + each.index(name)) for each in (dense, text) if name in each)
        for name in {*dense, *text}
    }
    assert {chr(one.row): pytest.approx(one.score) for one in found} == slow
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_copies_do_not_take_the_places_of_others(tmp_path, embedder, limit):
    folder = write_documents(tmp_path / "docs")
    for i in range(30):
        (folder / f"copy-{i:02}.txt").write_text("How many dogs may come on Fridays? Two dogs.")
    index(IndexedFolder(folder, "toy", lambda: embedder), str(tmp_path / "store"))
    store, question = open_store(str(tmp_path / "store")), "How many dogs may come on Fridays?"
    every = retrieve(store, embedder, question, SearchOptions(50, keep_duplicates=True))
    assert len(every) == 33
    assert retrieve(store, embedder, question, SearchOptions(limit)) == without_duplicates(
        every, limit
    )


@given(ranking=RANKING)
def test_retrievers_that_agree_are_not_reordered(ranking):
    assert [chr(one.row) for one in fuse(rows(ranking), rows(ranking))] == ranking


def test_a_score_is_explained_by_what_it_is_made_of():
    (one,) = fuse(rows("a"), rows("a"))
    hit = Hit(passage("a"), one.score, 1.0, one.dense, one.text)
    assert hit.explain() == (
        "0.0328 = 1/(60+1) by meaning (cosine 1.00) + 1/(60+1) by words (BM25 1.0)"
    )


def hits(*texts):
    return [
        Hit(passage(f"p{i}", text), 1.0 - i / 10, None, Ranked(i + 1, 0.0))
        for i, text in enumerate(texts)
    ]


def test_near_duplicates_of_better_hits_leave():
    first = "The company pays for every train ticket that an employee buys for work."
    near = f"{first} See the handbook."
    other = "Dogs may come to the office on Fridays if nobody minds them."
    inside = "the company pays for every train ticket"
    kept = without_duplicates(hits(first, first.upper(), inside, other, near), 5)
    assert [hit.passage.text for hit in kept] == [first, other]


def test_short_texts_are_duplicates_only_if_they_are_equal():
    kept = without_duplicates(hits("yes", "no", "Yes!", "yes no"), 5)
    assert [hit.passage.text for hit in kept] == ["yes", "no", "yes no"]


POLICY = (
    "Employees of the {} office are entitled to paid annual leave of {} working days in each year. "
    "Leave must be requested at least two weeks in advance from the direct manager, who decides "
    "within three days. Unused leave expires at the end of March and is not paid out."
)


@pytest.mark.parametrize(
    "texts",
    [
        [POLICY.format("Berlin", 30), POLICY.format("Berlin", 25)],
        [POLICY.format("Berlin", 30), POLICY.format("Oslo", 30)],
        [POLICY.format("local", 30), f"{POLICY.format('local', 30)} Ask Anna."],
        [f"{name} decides. {POLICY.format('local', 30)}" for name in ("Anna", "Bertha")],
        [f"담당자는 {name}입니다. {'휴가는 두 주 전에 신청합니다. ' * 9}" for name in ("김", "이")],
    ],
)
def test_what_adds_a_number_or_a_name_is_no_duplicate(texts):
    assert len(without_duplicates(hits(*texts), 5)) == len(texts)


def test_only_equal_rows_of_a_table_are_duplicates():
    rows = [f"colour: {colour}\n{POLICY}" for colour in ("white", "black", "white")]
    found = [replace(hit, passage=replace(hit.passage, kind="rows")) for hit in hits(*rows)]
    assert without_duplicates(found, 5) == found[:2]


@pytest.fixture(scope="module")
def store(tmp_path_factory, toy_model):
    """Read by many tests, written by none."""
    folder = tmp_path_factory.mktemp("retrieve")
    source = IndexedFolder(write_documents(folder / "docs"), "toy", lambda: ToyEmbedder(toy_model))
    index(source, str(folder / "store"))
    return open_store(str(folder / "store"))


@pytest.mark.parametrize("mode", ["hybrid", "dense", "text"])
def test_the_passage_that_answers_comes_first(store, embedder, mode):
    found = retrieve(store, embedder, "Who pays train tickets?", SearchOptions(mode=mode))
    assert found[0].passage.source == "travel.txt"
    assert (found[0].cosine is None) == (mode == "text")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "bm25"}, "no way to search called 'bm25'. There are: dense, text, hybrid"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_another_way_to_search_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        SearchOptions(**options)


def test_text_search_asks_no_model(store, embedder):
    retrieve(store, embedder, "train", SearchOptions(mode="text"))
    assert embedder.embedded[-1:] != ["train"]


@pytest.mark.parametrize("question", ["", "?!", '"(train AND', "a:b^2 [x TO y] ~ \\ '", "*"])
def test_marks_in_a_question_are_no_syntax(store, question):
    assert isinstance(store.matching(question, 5), list)


@pytest.mark.parametrize(
    ("where", "sources"),
    [
        ({"source": "*.md"}, {"leave.md"}),
        ({"source": "pe?s.txt"}, {"pets.txt"}),
        ({"kind": "text"}, {"pets.txt", "travel.txt"}),
        ({"heading": "Leave"}, {"leave.md"}),
        ({"page": 3}, set()),
        ({"source": "100%_' OR 1=1"}, set()),
        ({"kind": "text", "source": "t*"}, {"travel.txt"}),
    ],
)
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_filter_is_kept_by_every_retriever(store, embedder, where, sources, mode):
    search = SearchOptions(mode=mode, where=Filter(**where))
    found = retrieve(store, embedder, "leave train dogs office", search)
    assert {hit.passage.source for hit in found} == sources


def test_a_filter_is_read_from_words():
    assert parse_filter(["source=a=b", "page=3"]) == Filter(source="a=b", page=3)
    for wrong in ("x=1", "page=x", "source"):
        with pytest.raises(RagError, match="not a condition"):
            parse_filter([wrong])
    with pytest.raises(RagError, match=r"both source=\*\.md and source=\*\.txt"):
        parse_filter(["source=*.md", "source=*.txt"])


def test_a_reranker_has_the_last_word(store, embedder):
    found = retrieve(
        store,
        embedder,
        "Who pays train tickets?",
        rerank=lambda _, texts: [float(text.startswith("Dogs")) for text in texts],
    )
    assert found[0].passage.source == "pets.txt"
    assert "by the reranker" in found[0].explain()


def test_neighbours_are_joined_where_they_touch_and_overlap(indexed, folder):
    text = "\n\n".join(f"This is paragraph {i}. It ends here." for i in range(12))
    (folder / "long.txt").write_text(text)
    indexed()
    store = open_store(indexed.uri)
    found = next(m.passage for m in store.matching("paragraph", 50) if m.passage.part == 1)
    for count in range(3):
        wide = with_neighbours(store, found, count)
        assert wide.text.split() == text[wide.start : wide.stop].split()
    assert (wide.start, wide.stop > found.stop) == (0, True)


def test_korean_words_are_found_whatever_particle_follows(indexed, folder, embedder):
    (folder / "ko.txt").write_text("고양이에게는 사료를 하루에 두 번 줍니다.")
    (folder / "ko2.txt").write_text("열차표는 회사가 냅니다.")
    indexed()
    store = open_store(indexed.uri)
    for question in ("고양이 사료", "고양이가 먹는 사료는?", "고양이를"):
        found = retrieve(store, embedder, question, SearchOptions(mode="text"))
        assert found[0].passage.source == "ko.txt"
