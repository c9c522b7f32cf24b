""""""

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.quality.rows import asked
from tunesmith.data.quality.copies import NearDuplicates
from tunesmith.data.quality.near import FILLERS, equal_pairs, gap_keys, gap_pairs
from tunesmith.data.quality.text import see
from tunesmith.data.split import Clusters

pairs = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(pairs=pairs)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_clusters_are_connected_components_named_by_their_first_row(pairs):
    clusters = Clusters(20)
    clusters.join([np.array(pairs, dtype=np.int64).reshape(-1, 2)])
    graph = networkx.Graph(pairs)
    graph.add_nodes_from(range(20))
    expected = {row: min(some) for some in networkx.connected_components(graph) for row in some}
    assert clusters.first().tolist() == [expected[row] for row in range(20)]


def test_equal_keys_are_chained_from_the_first_on():
    keys = np.array([5, 7, 5, 9, 5], dtype=np.uint64)
    assert equal_pairs(keys).tolist() == [[0, 2], [2, 4]]
    assert equal_pairs(keys[:0]).shape == (0, 2)


def near(*texts, fewest=3, salts=None):
    split = [text.split() for text in texts]
    salts = np.array(salts or [0] * len(texts), dtype=np.uint64)
    keys, counts = gap_keys(split, salts=salts, fewest=fewest)
    return {tuple(sorted(p)) for some in gap_pairs(keys, counts) for p in some.tolist()}


@pytest.mark.parametrize(
    "other",
    [
        "set an alarm later",  # replaced
        "please set an alarm now",  # added
        "set an alarm",  # left out
        "an alarm now set",  # moved
    ],
)
def test_one_word_may_differ(other):
    assert near("set an alarm now", other) == {(0, 1)}


@pytest.mark.parametrize("other", ["cancel the alarm now", "set one alarm later", "now"])
def test_two_words_may_not(other):
    assert near("set an alarm now", other) == set()


def test_another_number_is_another_question():
    assert near("what is 3 plus x", "what is 4 plus x") == set()
    assert near("wake me at 6:30 am", "wake me at 7:30 am") == set()
    assert near("wake me at six am", "wake me at 6 am") == {(0, 1)}


def test_texts_that_are_too_short_are_never_near():
    assert near("turn left", "turn right", fewest=3) == set()
    assert near("turn left now", "turn right now", fewest=4) == set()
    assert near("turn left now", "turn right now", fewest=3) == {(0, 1)}


def test_what_else_must_agree():
    texts = ("set an alarm now", "set the alarm now")
    assert near(*texts, salts=[1, 1]) == {(0, 1)}
    assert near(*texts, salts=[1, 2]) == set()


def test_many_that_differ_in_one_place_are_a_template():
    names = [chr(ord("a") + i) * 3 for i in range(FILLERS + 1)]
    assert near(*(f"how do you say {name} please" for name in names)) == set()
    few = near(*(f"how do you say {name} please" for name in names[:FILLERS]))
    assert len(few) == FILLERS * (FILLERS - 1) // 2


words = st.lists(
    st.sampled_from(["red", "green", "blue", "gold", "pink", "grey"]), min_size=3, max_size=7
)


def one_word_apart(a, b):
    return any(
        a[:i] + a[i + 1 :] in (b, *(b[:j] + b[j + 1 :] for j in range(len(b))))
        for i in range(len(a))
    ) or any(b[:j] + b[j + 1 :] == a for j in range(len(b)))


@given(a=words, b=words)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_pairs_are_those_that_comparing_every_word_finds(a, b):
    expected = a == b or one_word_apart(a, b)
    assert bool(near(" ".join(a), " ".join(b))) == expected


def test_short_texts_without_spaces_are_no_near_copies_by_a_character_of_four():
    near = NearDuplicates()
    for row in asked(("我要退货", "好"), ("我要换货", "好")):
        near.observe(see(row))
    assert list(near.findings()) == []
