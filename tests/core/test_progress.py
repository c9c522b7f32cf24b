"""Long work says how far it is and how long it will take, and is cancelled between two parts."""

import pytest

from tunesmith.core import progress
from tunesmith.core.progress import Cancelled, Notice, Phase, Progress, time_left


@pytest.fixture
def time(monkeypatch):
    """The seconds that have passed, for a test to set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_phase_is_reported_as_it_begins_and_as_it_ends(time):
    heard = []
    phase = Progress(heard.append).phase("a", 3)
    for done in (1, 2, 3):
        phase.at(done)
    assert [event.done for event in heard] == [0, 3]


def test_a_quiet_phase_of_an_instant_is_not_reported(time):
    heard = []
    phase = Progress(heard.append).quiet_phase("a", 3)
    for done in (1, 2, 3):
        phase.at(done)
        time[0] += 0.05
    assert heard == []


def test_reports_come_a_few_times_a_second_with_the_time_left(time):
    heard = []
    phase = Progress(heard.append).quiet_phase("a", 40)
    for done in range(11):
        phase.at(done)
        time[0] += 0.1
    assert [event.done for event in heard] == [3, 6, 9]
    assert heard[0] == Phase("a", 3, 40, pytest.approx(0.1 * 37))


def test_a_total_may_be_learned_on_the_way(time):
    heard = []
    phase = Progress(heard.append).phase("a")
    time[0] += 1
    phase.at(2)
    time[0] += 1
    phase.at(4, 8)
    assert heard == [Phase("a"), Phase("a", 2), Phase("a", 4, 8, pytest.approx(4.0))]


@pytest.mark.parametrize(("made", "left", "told"), [(0, 9, None), (1, 9, None), (2, 8, 40.0)])
def test_a_time_left_rests_on_more_than_the_first_part(made, left, told):
    assert time_left(10.0, made, left) == told


def test_a_time_left_of_much_work_rests_on_a_share_of_it_and_not_on_what_was_known(time):
    heard = []
    phase = Progress(heard.append).phase("a", 110)
    for done in (10, 14, 15, 110):
        time[0] += 1
        phase.at(done)
    assert [event.seconds_left for event in heard] == [None, None, None, pytest.approx(57), 0]


def test_small_steps_are_counted_and_the_clock_is_read_now_and_then(time):
    heard = []
    phase = Progress(heard.append).quiet_phase("a", 1000)
    for _ in range(1000):
        phase.step()
        time[0] += 0.01
    assert [event.done for event in heard] == [256, 512, 768]


def test_each_item_counts_once_it_was_worked_on():
    heard = []
    done = [
        heard[-1].done if heard else 0
        for _ in Progress(heard.append).quiet_phase("a", 3).over("abc")
    ]
    assert done == [0, 0, 0]
    phase = Progress(heard.append).phase("b", 3)
    assert list(phase.over("abc")) == ["a", "b", "c"]
    assert [event.done for event in heard] == [0, 3]


def test_a_cancel_between_two_parts_raises_after_the_part_that_is_done():
    done = []
    parts = Progress(cancelled=lambda: 2 in done).phase("a", 5).over(range(5))
    with pytest.raises(Cancelled):
        done.extend(parts)
    assert done == [0, 1, 2]


def test_the_last_part_is_never_cancelled():
    phase = Progress(cancelled=lambda: True).phase("a", 2)
    with pytest.raises(Cancelled):
        phase.at(1)
    phase.at(2)
    assert list(Progress(cancelled=lambda: True).phase("b", 1).over("x")) == ["x"]


def test_a_quiet_phase_is_not_cancelled_before_it_lasts(time):
    phase = Progress(cancelled=lambda: True).quiet_phase("a", 9)
    phase.at(1)
    time[0] += 1
    with pytest.raises(Cancelled):
        phase.at(2)


def test_a_cancel_asked_for_while_a_part_is_reported_is_heard_before_the_next(time):
    heard = []
    work = Progress(heard.append, cancelled=lambda: bool(heard))
    phase = work.quiet_phase("a", 9)
    phase.at(1)
    time[0] += 1
    with pytest.raises(Cancelled):
        phase.at(2)
    assert [event.done for event in heard] == [2]


def test_no_failure_of_a_part_swallows_a_cancel():
    assert issubclass(Cancelled, KeyboardInterrupt)
    assert not issubclass(Cancelled, Exception)


def test_another_listener_hears_the_same_work():
    first, second = [], []
    work = Progress(first.append, cancelled=lambda: True, threads=3)
    other = work.heard_by(second.append)
    other.notice("code", "said")
    assert (first, second) == ([], [Notice("code", "said")])
    assert other.is_cancelled
    assert other.processes == 3
    with pytest.raises(Cancelled):
        other.check()


def test_as_many_processes_as_threads_or_as_there_are():
    assert Progress(threads=3).processes == 3
    assert Progress().processes >= 1
