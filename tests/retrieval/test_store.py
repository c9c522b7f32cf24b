import numpy as np
import pytest

from tests.retrieval.test_retrieve import passage
from tunesmith.core.errors import RagError
from tunesmith.retrieval import store as store_module
from tunesmith.retrieval.store import StoreSettings, create_store, open_store

WIDTH = 16


def settings(**changes):
    values = {"root": "r", "embedding": "toy", "width": WIDTH, "probe": (0.0,) * 8}
    return StoreSettings(**{**values, "tokens": 40, "overlap": 8, **changes})


@pytest.fixture
def store(tmp_path):
    return create_store(str(tmp_path / "store"), settings())


def filled(store, count):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, WIDTH)).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store.add([passage(f"p{i}", f"number n{i} of many") for i in range(count)], vectors)
    return vectors


def questions(count):
    vectors = np.random.default_rng(1).normal(size=(count, WIDTH)).astype("f4")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_empty_store_finds_nothing(store):
    assert store.nearest(np.ones(WIDTH, "f4"), 5) == []
    assert store.matching("anything", 5) == []
    assert store.documents() == {}


def test_what_it_was_made_with_is_in_it(store):
    assert open_store(store.uri).settings == settings()


def test_cosines_are_those_of_the_vectors(store):
    vectors = filled(store, 50)
    found = store.nearest(vectors[7], 50)
    assert found[0].passage.id == "p7"
    expected = {f"p{i}": float(vectors[i] @ vectors[7]) for i in range(50)}
    assert {m.passage.id: m.score for m in found} == pytest.approx(expected, abs=1e-5)


def test_what_was_added_is_found_before_and_after_the_indices_are_brought_up_to_date(store):
    filled(store, 20)
    for _ in range(2):
        assert store.matching("n11", 5)[0].passage.id == "p11"
        store.finish()


def test_an_index_of_vectors_finds_what_comparing_all_of_them_does(store, monkeypatch):
    monkeypatch.setattr(store_module, "ROWS_WORTH_AN_INDEX", 500)
    vectors = filled(store, 600)
    store.finish()
    shares = []
    for vector in questions(40):
        cosines = vectors @ vector
        exact = np.argsort(-cosines)[:20]
        found = store.nearest(vector, 20)
        assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
        assert all(
            m.score == pytest.approx(cosines[int(m.passage.id[1:])], abs=1e-5) for m in found
        )
        shares.append(len({f"p{i}" for i in exact} & {m.passage.id for m in found}) / 20)
    assert np.mean(shares) > 0.95


def test_a_chunk_that_was_removed_is_found_by_nothing(store):
    vectors = filled(store, 20)
    store.remove(["p3"])
    assert store.count() == 19
    assert not store.matching("n3", 5)
    assert store.nearest(vectors[3], 1)[0].passage.id != "p3"


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_store_that_is_none_says_how_to_make_one(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RagError, match="holds no store") as refused:
        open_store(str(tmp_path / name))
    assert "tunesmith rag index" in refused.value.remedy


def test_a_store_of_another_version_is_refused(tmp_path):
    with pytest.raises(RagError):
        create_store(str(tmp_path), settings(format=0))
    with pytest.raises(RagError, match="another version"):
        open_store(str(tmp_path))
