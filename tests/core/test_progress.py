"""Long phases tell how far they are and how long they will take, and can be stopped."""

import pytest

from tunesmith.core import progress
from tunesmith.core.progress import Clock, Course, Progress, time_left


@pytest.fixture
def time(monkeypatch):
    """The seconds that have passed, for a test to set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_what_is_done_in_an_instant_is_not_told(time):
    heard = []
    clock = Clock(Course(emit=heard.append, stop=lambda: pytest.fail("asked")))
    for done in (1, 2, 3):
        clock.at("a", done, 3)
        time[0] += 0.05
    assert heard == []


def test_progress_is_told_now_and_then_with_the_time_left(time):
    heard = []
    clock = Clock(Course(emit=heard.append))
    for done in range(11):
        clock.at("a", done, 40)
        time[0] += 0.1
    assert [event.done for event in heard] == [3, 6, 9]
    assert heard[0] == Progress("a", 3, 40, pytest.approx(0.1 * 37))


@pytest.mark.parametrize(("made", "left", "told"), [(0, 9, None), (1, 9, None), (2, 8, 40.0)])
def test_a_time_left_rests_on_more_than_the_first_part(made, left, told):
    assert time_left(10.0, made, left) == told


def test_a_time_left_of_much_work_rests_on_a_share_of_it(time):
    heard = []
    tell = Course(emit=heard.append).progress("a")
    for done in (0, 4, 5, 100):
        time[0] += 1
        tell(done, 100)
    assert [event.seconds_left for event in heard] == [None, None, pytest.approx(57), 0]


def test_each_phase_has_a_clock_of_its_own(time):
    heard = []
    clock = Clock(Course(emit=heard.append))
    clock.at("a", 1, 10)
    time[0] += 60
    clock.at("b", 1, 10)
    assert heard == []
    time[0] += 1
    clock.at("b", 2, None)
    assert heard == [Progress("b", 2, None, None)]


def test_a_stop_is_heard_in_a_longer_phase(time):
    clock = Clock(Course(stop=lambda: True))
    clock.at("a", 1, 10)
    time[0] += 1
    with pytest.raises(KeyboardInterrupt):
        clock.at("a", 2, 10)


def test_small_steps_are_counted_and_looked_at_now_and_then(time):
    heard = []
    clock = Clock(Course(emit=heard.append))
    for _ in range(1000):
        clock.step("a", 1000)
        time[0] += 0.01
    assert [event.done for event in heard] == [256, 512, 768]
    clock.step("b", 5)
    time[0] += 1
    clock.at("b", 2, 5)
    assert heard[-1].phase == "b"


def test_as_many_processes_as_threads_or_as_there_are():
    assert Course(threads=3).processes == 3
    assert Course().processes >= 1
