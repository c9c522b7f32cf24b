"""Counts agree with their nouns, in every message."""

import ast
import re

import pytest

from tests.source import PACKAGE, SRC, modules, parsed
from tunesmith.core.numbers import (
    bytes_text,
    clock,
    count_text,
    duration,
    duration_between,
    limits_text,
    percent,
    pluralize,
    points,
    signed,
)

NOUNS = "row token step question fault layer thread tensor answer text prompt shard run file"
NOUNS += " message column line check device head training checkpoint adapter model core epoch"
NOUNS += " second minute"
# A number, then its noun in the plural: wrong for one. A rate (tokens/s) has no singular.
PLURAL = re.compile(rf"^ (?:(?!and |or |of )[a-z-]+ )?(?:{'|'.join(NOUNS.split())})s\b(?!/)")


def bare_counts(module):
    """Where a formatted value is followed by a plural that is always written."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                is_value = isinstance(value, ast.FormattedValue)
                if is_value and isinstance(text, ast.Constant) and PLURAL.match(text.value):
                    yield f"{module.where}:{node.lineno}: {text.value.strip()}"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (2000, "2,000 rows")]
)
def test_one_is_one_row(count, text):
    assert pluralize(count, "row") == text


def test_no_message_writes_a_plural_behind_a_number():
    faults = [fault for module in modules() for fault in bare_counts(module)]
    assert not faults, "write pluralize(count, noun): " + "; ".join(faults)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("f'{n:,} rows'", 1),
        ("f'{n} held-out rows are there'", 1),
        ("f'{a} of {b} steps'", 1),
        ("f'{n:,.0f} tokens/s'", 0),
        ("f'{n} rowsets'", 0),
        ("f'{many(n, \"row\")} and rows'", 0),
    ],
)
def test_a_plural_behind_a_number_is_seen(text, count):
    assert len(list(bare_counts(parsed(f"{PACKAGE}.a", SRC / PACKAGE / "a.py", text)))) == count


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
    ("count", "text"),
    [
        (2.184e9, "2.18_GB"),
        (9.996e9, "10.0_GB"),
        (19.6e6, "19.6_MB"),
        (50_000, "50.0_kB"),
        (7, "7_bytes"),
    ],
)
def test_bytes_on_a_page_have_three_digits_and_never_wrap(count, text):
    assert bytes_text(count, on_page=True) == text.replace("_", "\N{NO-BREAK SPACE}")


def test_a_change_has_its_sign_and_a_minus_as_long_as_a_plus():
    assert signed(0.25, 2) == "+0.25"
    assert points(-0.041) == "\N{MINUS SIGN}4.1"
    assert limits_text(0.31, 0.56) == "31 % \N{EN DASH} 56 %"
    assert limits_text(-0.01, 0.1, points) == "\N{MINUS SIGN}1.0 \N{EN DASH} +10.0"


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
    assert pluralize(1, "row") == "1 row"
    assert pluralize(2000, "row") == "2,000 rows"
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
