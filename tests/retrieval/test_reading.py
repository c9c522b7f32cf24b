import hashlib
import os

import pytest

from tests.retrieval.toy import pdf
from tunesmith.core.errors import RagError
from tunesmith.retrieval.document import ChunkConfig
from tunesmith.retrieval.read import FileOrder, Reading, Refused, read_files


@pytest.fixture
def order(tmp_path):
    def make(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return FileOrder(path, hashlib.sha256(data).hexdigest())

    return make


def test_files_are_read_in_order_and_one_that_fails_stops_no_other(toy_model, order):
    orders = [order(f"{i}.txt", b"word " * (i + 1)) for i in range(12)]
    orders.insert(3, order("bad.pdf", b"%PDF-1.5 not"))
    orders.insert(5, order("good.pdf", pdf("a page")))
    answers = list(read_files(orders, toy_model, ChunkConfig(20, 0), Reading(processes=2)))
    assert [i for i, each in enumerate(answers) if isinstance(each, Refused)] == [3]
    assert answers[3].code == "damaged"
    assert [len(answers[i][1]) for i in (0, 1, 2)] == [1, 1, 1]
    kind, chunks = answers[5]
    assert (kind, [chunk.page for chunk in chunks]) == ("pdf", [1])


def test_a_file_that_changed_since_it_was_listed_is_refused(toy_model, order):
    changed = order("a.txt", b"before")
    changed.path.write_bytes(b"after")
    (answer,) = read_files([changed], toy_model, ChunkConfig(), Reading())
    assert answer.code == "changed"


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read(toy_model, order, tmp_path):
    pipe = tmp_path / "endless.txt"
    os.mkfifo(pipe)
    orders = [FileOrder(pipe, ""), order("a.txt", b"word")]
    slow, next_ = read_files(orders, toy_model, ChunkConfig(), Reading(max_seconds=3))
    assert slow.code == "too_slow"
    assert next_[0] == "text"


def test_a_model_by_which_nothing_can_be_cut_is_an_error(tmp_path, order):
    with pytest.raises(RagError, match=r"no tokenizer\.json"):
        list(read_files([order("a.txt", b"word")], tmp_path, ChunkConfig(), Reading()))
