from dataclasses import replace

import pytest

from tests.retrieval.toy import ToyEmbedder
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.questions import RetrievalQuestion, know, says_nothing
from tunesmith.retrieval.store import open_store

TEXTS = {
    "leave.txt": "Every employee has thirty days of leave in a year.",
    "old.txt": "Until last year there were twenty days of leave for employees.",
    "notice.txt": "Notice must be given thirty days before the end of a month.",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory, toy_model):
    folder = tmp_path_factory.mktemp("questions")
    (folder / "docs").mkdir()
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text)
    index(
        IndexedFolder(folder / "docs", "toy", lambda: ToyEmbedder(toy_model)), str(folder / "store")
    )
    return open_store(str(folder / "store"))


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, {"leave.txt", "notice.txt"}),  # both say it
        ({"source": "leave.txt"}, {"leave.txt"}),
        ({"context": TEXTS["notice.txt"]}, {"notice.txt"}),
        ({"context": TEXTS["notice.txt"], "source": "old.txt"}, set()),
        ({"answers": ("it was longer ago",), "source": "old.txt"}, {"old.txt"}),
        ({"answers": ("employee: thirty days, no more",)}, {"leave.txt"}),
        ({"answers": ("a dog",)}, set()),
        ({"answers": ()}, set()),
    ],
)
def test_passages_are_right_by_their_place_and_by_what_they_say(store, embedder, changes, right):
    question = replace(RetrievalQuestion("How many days of leave?", ("Thirty days",)), **changes)
    known = know(store, embedder, question)
    assert {passage.source for passage in known.right} == right
    assert len(known.hits) == len(TEXTS)


def test_a_copy_of_the_file_answers_too(tmp_path, embedder):
    (tmp_path / "docs" / "nested").mkdir(parents=True)
    for name, text in {**TEXTS, "nested/leave-2.txt": TEXTS["leave.txt"]}.items():
        (tmp_path / "docs" / name).write_text(text)
    index(IndexedFolder(tmp_path / "docs", "toy", lambda: embedder), str(tmp_path / "store"))
    asked = RetrievalQuestion("How many days of leave?", ("Thirty days",), source="leave.txt")
    right = know(open_store(str(tmp_path / "store")), embedder, asked).right
    assert [passage.source for passage in right] == ["leave.txt", "nested/leave-2.txt"]


def test_what_says_the_answer_or_is_like_the_right_passage_is_no_distractor(store, embedder):
    known = know(
        store, embedder, RetrievalQuestion("Days of leave?", ("thirty days",), "leave.txt")
    )
    free = {p.source for p in store.passages() if says_nothing(p, known, ["thirty days"])}
    assert free == {"old.txt"}
