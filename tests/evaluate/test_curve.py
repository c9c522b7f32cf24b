"""Would more data help: yes, no and cannot tell, by the interval of the last gain."""

import random
from statistics import NormalDist

import pytest

from tunesmith.evaluate.curve import Point, judge_curve


def curve(gains, *, rows, spread, seed=0):
    """Points whose mean loss falls by these shares; rows differ, and their differences vary."""
    rng = random.Random(seed)
    base = [2.0 + rng.gauss(0, 0.5) for _ in range(rows)]
    losses, mean = [base], 1.0
    for gain in gains:
        mean *= 1 - gain
        losses.append([loss * mean + rng.gauss(0, spread) for loss in base])
    return [Point(100 * 2**i, each) for i, each in enumerate(losses)]


@pytest.mark.parametrize(
    ("gains", "rows", "spread", "answer"),
    [
        ((0.2, 0.1, 0.08), 200, 0.1, "yes"),
        ((0.2, 0.03, 0.001), 200, 0.05, "no"),
        ((0.2, 0.1, -0.02), 200, 0.05, "no"),
        ((0.2, 0.05, 0.012), 40, 0.2, "cannot-tell"),
    ],
)
def test_the_interval_of_the_last_gain_decides(gains, rows, spread, answer):
    verdict = judge_curve(curve(gains, rows=rows, spread=spread), seed=0, resamples=2000)
    assert verdict.answer == answer
    assert verdict.low <= verdict.gain <= verdict.high
    assert verdict.gain == pytest.approx(gains[-1], abs=0.03)


def test_it_is_rarely_sure_where_nothing_is_gained():
    verdicts = [
        judge_curve(curve((0.1, 0.0), rows=50, spread=0.1, seed=i), seed=0, resamples=500)
        for i in range(60)
    ]
    assert sum(v.answer == "yes" for v in verdicts) <= 3


@pytest.mark.parametrize("gain", [0.03, -0.01])
def test_as_many_rows_as_are_told_are_enough(gain):
    def alike(rows):
        """Differences of the same spread, whatever their number."""
        z = [NormalDist().inv_cdf((i + 0.5) / rows) for i in range(rows)]
        return [Point(1, [2.0] * rows), Point(2, [2 - 2 * gain - 0.3 * each for each in z])]

    unsure = judge_curve(alike(20), seed=0, resamples=2000)
    assert unsure.answer == "cannot-tell"
    wanted = int(unsure.text.split("About ")[1].split(" ")[0].replace(",", ""))
    sizes = (wanted // 2, round(1.3 * wanted))  # few rows have less spread than many
    answers = [judge_curve(alike(n), seed=0, resamples=2000).answer for n in sizes]
    assert answers == ["cannot-tell", "yes" if gain > 0 else "no"]


def test_what_comes_next_shrinks_as_the_gains_shrank():
    points = [Point(10 * 2**i, [loss, loss * 1.1]) for i, loss in enumerate((2.0, 1.6, 1.44))]
    verdict = judge_curve(points, seed=0, resamples=200)
    assert verdict.gain == pytest.approx(0.1)
    assert verdict.next_gain == pytest.approx(0.1 * 0.1 / 0.2)
    assert judge_curve(points[1:], seed=0, resamples=200).next_gain is None


def test_points_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="two shares"):
        judge_curve([Point(1, [1.0, 2.0])], seed=0)
    with pytest.raises(ValueError, match="same held-out rows"):
        judge_curve([Point(1, [1.0, 2.0]), Point(2, [1.0])], seed=0)
