"""How numbers in findings are written, and that every finding has its phrase."""

import pytest

from tunesmith.evaluation.findings import (
    Finding,
    finding_text,
    findings_text,
    number_text,
    points_text,
    share_text,
    words_in,
    written,
)

EN, KO = words_in("en"), words_in("ko")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.002, "0.2 %"), (0.9996, "99.9 %"), (0.414, "41 %")],
)
def test_no_share_is_rounded_to_all_or_none(share, text):
    assert share_text(share, EN) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.0003, "<0.001"),
        (0.0451, "0.045"),
        (-1.234, "−1.23"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_keep_the_digits_that_count(value, text):
    assert number_text(value) == text


def test_points_are_signed_and_agree_in_number():
    assert points_text(0.01, EN) == "+1 point"
    assert points_text(-0.2, EN) == "−20 points"
    assert points_text(0.001, EN) == "0 points"
    assert points_text(-0.2, KO) == "−20%p"


def test_the_end_of_a_name_says_how_a_value_is_written():
    values = {"rows": 1200, "rows_share": 0.5, "gain_points": 0.1, "last_nats": 0.5, "lr": "1e-3"}
    assert written(values, EN) == {
        "rows": "1,200",
        "rows_share": "50 %",
        "gain_points": "+10 points",
        "last_nats": "0.500",
        "lr": "1e-3",
    }


def test_a_part_without_findings_says_so_and_several_stand_in_order():
    assert findings_text("capacity", [], EN) == EN.phrase("capacity.none")
    two = [Finding("untrained"), Finding("rank-enough", {"rank": 1, "larger": 8})]
    assert findings_text("capacity", two, EN) == " ".join(
        finding_text("capacity", each, EN) for each in two
    )


def test_a_code_without_a_phrase_is_an_error():
    with pytest.raises(KeyError):
        finding_text("capacity", Finding("no-such"), EN)
