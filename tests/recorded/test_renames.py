"""Listed renames are meant, everything else is a difference."""

import pytest

from tests.recorded.differences import differences
from tests.recorded.normal import MEASURED, normal
from tests.recorded.renames import Renames, read_renames

RECORDED = {"voice": "base", "arms": [{"voice": "a", "score": 0.5}], "next": ["runs --again x"]}
NOW = {"voice": "base", "arms": [{"part": "a", "score": 0.5}], "next": ["runs --retry x"]}
LISTED = Renames({"evaluate:arms.voice": "part"}, {"--again": "--retry"}, {}, {})


def found(renames, now=NOW, recorded=RECORDED, **how):
    expected = renames.of(recorded, "evaluate")
    return [each.path for each in differences(expected, now, document="evaluate", **how)]


def test_a_difference_that_is_not_listed_is_found():
    assert found(Renames({}, {}, {}, {})) == ["arms.voice", "arms.part", "next", "next"]


def test_a_listed_rename_holds_at_its_path_only():
    assert found(LISTED) == []
    assert found(LISTED, now={**NOW, "part": NOW["voice"]}) == ["part"]


def test_a_name_without_a_path_is_renamed_everywhere():
    renames = Renames({"voice": "part"}, {}, {}, {})
    assert renames.of(RECORDED, "chat")["arms"] == [{"part": "a", "score": 0.5}]


def test_what_is_ignored_is_named_by_document_and_path():
    renames = Renames({}, {}, {}, {"evaluate:arms.*": "by design"})
    assert renames.ignores("evaluate", "arms.score")
    assert not renames.ignores("train", "arms.score")


def test_the_list_is_read():
    assert read_renames().of_words(["train", 1]) == ["train", "1"]


@pytest.mark.parametrize(
    ("recorded", "now", "strictly", "loosely"),
    [
        (0.5, 0.5, True, True),
        (0.5, 0.503, False, True),
        (0.5, 0.6, False, False),
        (1, True, False, False),
        (1, 1.0, False, True),
        ("passes 12 %", "passes 13 %", False, True),
        ("passes", "fails", False, False),
        ([1, 2], [1], False, False),
        (["a", "b"], ["b", "a"], False, True),
        (MEASURED, 17, True, True),
        (MEASURED, "17", False, False),
        (None, 0, False, False),
    ],
)
def test_values_are_equal_or_within_a_tolerance(recorded, now, strictly, loosely):
    same = [not found(LISTED, {"x": now}, {"x": recorded}, loosely=how) for how in (False, True)]
    assert same == [strictly, loosely]


def test_what_was_measured_and_where_is_no_difference(tmp_path):
    told = {"seconds": 1.5, "text": f"{tmp_path}/runs took about 3 to 4 minutes at 1,200 tokens/s"}
    again = {"seconds": MEASURED, "text": "/recorded/runs took <time> at <amount>"}
    assert normal(told, tmp_path) == again


def test_only_the_last_digits_of_what_is_listed_may_differ():
    renames = Renames({}, {}, {}, {}, {"*.low": "another library"})
    assert renames.rounds("run", "score.low", 0.4728977, 0.4728977 + 1e-15)
    assert not renames.rounds("run", "score.low", 0.4728977, 0.4728978)
    assert not renames.rounds("run", "score.mean", 0.4728977, 0.4728977 + 1e-15)
    assert not renames.rounds("run", "score.low", 0.4728977, None)
