import itertools

import pytest

from tunesmith.config import TrainSettings
from tunesmith.train.schedule import factor, warmup_of


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_warm_up_rises_to_the_peak_and_the_rest_never_rises(schedule):
    shares = [factor(i, steps=50, warmup=5, schedule=schedule) for i in range(50)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[5] == 1.0
    assert all(a >= b >= 0 for a, b in itertools.pairwise(shares[4:]))
    assert (shares[-1] < 0.05) == (schedule != "constant")


def test_auto_warm_up_is_a_small_share_and_a_number_is_taken_as_it_is():
    assert warmup_of(TrainSettings(), 1000) == 30
    assert warmup_of(TrainSettings(warmup_steps=0), 1000) == 0
    assert factor(0, steps=10, warmup=0, schedule="cosine") == 1.0
