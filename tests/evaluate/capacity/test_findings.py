"""What is said of rank use, in both languages, and never without a reason."""

import numpy as np
import pytest

from tunesmith.evaluate.capacity.findings import judge_capacity
from tunesmith.evaluate.capacity.floor import FloorFall
from tunesmith.evaluate.capacity.use import rank_use


def use(*values, layers=3):
    return rank_use(
        {f"l{i}": values for i in range(layers)}, dict.fromkeys(_names(layers), len(values))
    )


def _names(layers):
    return [f"l{i}" for i in range(layers)]


def codes(use, *falls):
    return [each.code for each in judge_capacity(use, falls).findings]


def falling(count, power):
    """Singular values that fall as those of real adapters do."""
    return tuple((np.arange(1, count + 1) ** -power).tolist())


def test_an_ordinary_spectrum_says_nothing():
    for power in (0.5, 0.8, 1.0, 1.3):
        found = judge_capacity(use(*falling(16, power)))
        assert found.findings == ()
        assert found.text() == "The rank is neither used up nor mostly spare."


def test_a_flat_one_is_full_and_no_harm():
    (finding,) = judge_capacity(use(*falling(16, 0.1))).findings
    assert (finding.code, finding.harm) == ("full-rank", False)


def test_rank_one_is_always_flat_and_says_nothing_alone():
    assert codes(use(1.0)) == []


def test_a_spectrum_of_few_directions_is_spare_where_the_rank_is_worth_saving():
    assert codes(use(5.0, 3.0, *[1e-3] * 14)) == ["spare-rank"]
    assert codes(use(5.0, *[1e-3] * 3)) == []


def test_nothing_trained_is_harm():
    (finding,) = judge_capacity(use(0.0, 0.0)).findings
    assert (finding.code, finding.harm) == ("untrained", True)


LOW = FloorFall(1, 8, 0.4, 0.3, 0.5)
SAME = FloorFall(8, 32, 0.01, -0.01, 0.03)


def test_a_comparison_names_the_last_rank_that_is_too_low():
    found = judge_capacity(use(1.0), (LOW, SAME))
    assert [(each.code, each.harm) for each in found.findings] == [("rank-too-low", True)]
    assert found.text() == (
        "Rank 1 is too low: rank 8 reaches a training loss that is 40 % lower (30 % to 50 %)."
    )
    ordinary = judge_capacity(use(*falling(16, 0.8)), (LOW, SAME))
    assert [each.harm for each in ordinary.findings] == [False]


def test_ranks_that_do_not_differ_are_enough_and_unsure_ones_say_nothing():
    assert codes(use(*falling(8, 0.8)), SAME) == ["rank-enough"]
    assert codes(use(*falling(8, 0.8)), FloorFall(8, 32, 0.06, -0.01, 0.12)) == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_finding_has_words(language):
    for each in (use(0.0), use(*falling(16, 0.1)), use(5.0, *[1e-4] * 15), use(1.0)):
        for falls in ((), (LOW,), (SAME,)):
            found = judge_capacity(each, falls)
            assert "{" not in found.text(language=language)
            assert found.to_json()["text"] == found.text()
