import pytest

from tunesmith.cli.quantities import bytes_text, clock, count_text, duration, duration_between, many
from tunesmith.counts import percent


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (272_600_000, "273 MB"),
        (2_100_000_000, "2.1 GB"),
        (999_999_999, "1.0 GB"),
        (25_300_000_000_000, "25.3 TB"),
    ],
)
def test_bytes_have_a_unit_in_which_they_are_small(count, text):
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (59.6, "60 seconds"),
        (119.4, "119 seconds"),
        (660, "11 minutes"),
        (3599, "1 hour"),
        (4800, "1 hour 20 minutes"),
        (90_000, "25 hours"),
    ],
)
def test_a_time_is_said_as_a_person_would(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (245, "4:05"), (3723, "1:02:03"), (3599.7, "1:00:00")]
)
def test_a_clock_carries_rounded_seconds_over(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(960, "960"), (4_884_480, "4.9 M"), (134_515_008, "135 M"), (7e9, "7.0 B")]
)
def test_large_counts_are_shortened(count, text):
    assert count_text(count) == text


def test_one_is_singular():
    assert many(1, "row") == "1 row"
    assert many(2000, "row") == "2,000 rows"
    assert percent(0.434) == "43 %"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (20, 40, "20 to 40 seconds"),
        (1, 4, "1 to 4 seconds"),
        (40, 180, "40 seconds to 3 minutes"),
        (0.2, 4, "less than a second to 4 seconds"),
        (150, 200, "2 to 3 minutes"),
        (180, 181, "3 minutes"),
        (0.1, 0.2, "less than a second"),
        (2400, 4800, "40 minutes to 1 hour 20 minutes"),
        (3600, 7200, "1 to 2 hours"),
    ],
)
def test_a_range_of_times_names_a_unit_once(low, high, text):
    assert duration_between(low, high) == text
