"""Scores that are kept: found again by who computed them and by what was scored."""

import numpy as np
import pytest

from tunesmith.evaluation import score_cache
from tunesmith.evaluation.score_cache import NOTHING_KEPT, ScoreCache, name_of, open_scores


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(score_cache, "cache_root", lambda: tmp_path)
    return tmp_path


def computed(values):
    """A computation, and how often it was done."""
    calls = []

    def compute():
        calls.append(1)
        return values

    return compute, calls


def test_scores_are_found_again_to_the_last_bit_and_not_computed():
    values = np.array([0.1, -1e-30, 3.0], dtype=np.float32)
    open_scores("base", "mine").scored("a", lambda: values)
    compute, calls = computed(values)
    again = open_scores("base", "mine")
    assert again.known("a")
    assert np.array_equal(again.scored("a", compute).astype(np.float32), values)
    assert not calls


@pytest.mark.parametrize(
    ("who", "what"), [(("base",), "a"), (("mine", "base"), "a"), (("base", "mine"), "b")]
)
def test_others_scores_and_scores_of_others_are_computed(who, what):
    open_scores("base", "mine").scored("a", lambda: [1.0])
    compute, calls = computed([2.0])
    assert open_scores(*who).scored(what, compute).tolist() == [2.0]
    assert calls


@pytest.mark.parametrize("left", [b'{"name": "b", "sco', b"\xff", b"null", b'{"name": "a"}\n'])
def test_a_line_that_a_kill_cut_off_costs_only_itself(left):
    cache = open_scores("me")
    cache.scored("a", lambda: [1.0])
    with cache.path.open("ab") as file:
        file.write(left)
    open_scores("me").scored("c", lambda: [2.0])
    again = open_scores("me")
    assert [again.known(name) for name in "abc"] == [True, False, True]


def test_without_a_participant_nothing_is_kept(folder):
    for cache in (NOTHING_KEPT, ScoreCache()):
        cache.scored("a", lambda: [1.0])
        assert not cache.known("a")
    assert not list(folder.iterdir())


def test_a_cache_that_cannot_be_written_costs_no_score(folder):
    (folder / "scores").write_text("")
    assert open_scores("me").scored("a", lambda: [1.0]).tolist() == [1.0]


def test_a_name_is_that_of_its_values():
    assert name_of("a", [1, 2]) == name_of("a", (1, 2)) != name_of("a", [1, 3])
