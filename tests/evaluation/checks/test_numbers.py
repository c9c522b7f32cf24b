"""number: the final answer, however it is written."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.checks import NumberSettings
from tunesmith.evaluation.checks.numbers import final_number, is_number, number_check


def score(answer, reference, **settings):
    return number_check(NumberSettings(**settings)).score(answer, reference)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("She has 3 + 4 = 7 apples.\n#### 7", 7),
        ("#### 1,234,567", 1234567),
        ("#### $18", 18),
        ("#### -5", -5),
        ("#### \u22125", -5),
        ("#### 18 dollars", 18),
        ("5 of 6 left. #### 12\nThat is 99 more words.", 12),
        ("#### 3\n#### 4", 4),
        ("\\boxed{42}", 42),
        ("so \\boxed{\\frac{3}{4}} remain", Fraction(3, 4)),
        ("The answer is 12.", 12),
        ("the answer is: $1,200.50 of 3000", Fraction(2401, 2)),
        ("Answer: 3/4", Fraction(3, 4)),
        ("정답은 15개입니다.", 15),
        ("He ran 3 miles, then 4, so 7 miles.", 7),
        ("x = 1 1/2 cups", Fraction(3, 2)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.5e3", 1500),
        ("2 million people", 2000000),
        ("room 12, 13", 13),
        ("10-3", 3),
        ("3 - 10 = -7", -7),
        ("(-7)", -7),
        ("5,6", Fraction(28, 5)),
        ("5, 6", 6),
        ("12,50 €", Fraction(25, 2)),
        ("#### 12,50", Fraction(25, 2)),
        ("Das kostet 99,50 € im Jahr.", Fraction(199, 2)),
        ("1.234,56", Fraction(123456, 100)),
        ("Rs. 12,34,567 in all", 1234567),
        ("９，２３４", 9234),
        ("Apples:\n- 12", 12),
        ("Apples - 12", 12),
        ("x = - 12", -12),
        ("-$ 12", -12),
        ("$-12", -12),
        ("The answer is 1e6.", 1000000),
        ("It weighs 2.5e-3.", Fraction(1, 400)),
        ("It weighs 2.5e-3, or so", Fraction(1, 400)),
        ("#### \n42", 42),
    ],
)
def test_the_final_number_is_read(text, value):
    assert final_number(text).value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 2 + 3 = 5.", 5),
        ("The answer is 5-3=2", 2),
        ("The answer is $5 * 3 = $15 a week.", 15),
        ("#### 2 + 3 = 4 + 1 = 5", 5),
        ("\\boxed{(2 + 3) * 2 = 10}", 10),
        ("\\boxed{\\frac{1}{2} + \\frac{1}{4} = \\frac{3}{4}}", Fraction(3, 4)),
        ("The answer is 2 - 7 = -5", -5),
        ("The answer is 5 = 2 + 3.", 5),
        ("The answer is 1/3 = 0.333", Fraction(1, 3)),
        ("The answer is -5 = x", -5),
        ("The answer is 7, as 2 + 3 = 5.", 7),
        ("The answer is 5 (2 + 3 = 5, not 2 * 3 = 6).", 5),
        ("The answer is 2 + 3 =", 2),
    ],
)
def test_of_a_calculation_behind_a_mark_the_result_counts(text, value):
    assert final_number(text).value == value


@pytest.mark.parametrize("text", ["", "no number", "#### none", "1/0", "...", "####", "⁴"])
def test_without_a_number_there_is_none(text):
    assert final_number(text) is None


def test_with_a_marker_of_its_own_only_that_counts():
    assert final_number("ANS 5\nand 7", marker="ANS").value == 5
    assert final_number("ANS \n5\nand 7", marker="ANS").value == 5
    assert final_number("ANS\n\n2 + 3 = 5\nand 7", marker="ANS").value == 5
    assert final_number("ANS none\nand 7", marker="ANS") is None
    assert final_number("5", marker="ANS") is None
    assert score("The answer is 5", "ANS 5", marker="ANS") == 0


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("50%", "50%", 1),
        ("50", "50%", 1),
        ("0.5", "50%", 1),
        ("50 percent", "0.5", 1),
        ("0.05", "50%", 0),
        ("1/3", "0.333", 0),
        ("7.0", "7", 1),
        ("7.001", "7", 0),
    ],
)
def test_percent_and_fractions(answer, reference, same):
    assert score(answer, reference) == same


def test_tolerances():
    assert score("1/3", "0.333", tolerance=0.001) == 1
    assert score("103", "100", tolerance=2) == 0
    assert score("103", "100", relative_tolerance=0.03) == 1
    assert score("104", "100", relative_tolerance=0.03) == 0
    assert score("-97", "-100", relative_tolerance=0.03) == 1


def test_a_reference_without_a_number_is_a_fault():
    check = number_check(NumberSettings(marker="####"))
    assert "no number after `####`" in check.reference_fault("7")
    assert "no reference" in check.reference_fault(None)
    assert check.reference_fault("#### 7") is None


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_is_read_in_every_way_it_is_written(number):
    for text in (f"#### {number}", f"#### {number:,}", f"it is {number}.", f"\\boxed{{{number}}}"):
        assert final_number(text).value == number


@given(st.decimals(-(10**6), 10**6, places=2), st.text(max_size=40))
def test_what_stands_before_the_marker_does_not_count(number, noise):
    text = noise.replace("#", "") + f"\n#### {number}"
    assert final_number(text).value == Fraction(number)


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text):
    found = final_number(text)
    assert found is None or found.value == found.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12 000 €", 12000),
        ("12 000", 12000),
        ("12\u202f000 kg", 12000),
        ("12'000", 12000),
        ("1.234.567", 1234567),
        ("0,5", Fraction(1, 2)),
        ("3,14159", Fraction("3.14159")),
        ("It weighs 3,5 kg.", Fraction(7, 2)),
        ("0,125", Fraction(1, 8)),
        ("1,234", 1234),
        ("3만 원", 30000),
        ("답은 1만 2천원입니다", 12000),
        ("1억 2천만 원", 120_000_000),
        ("5万円", 50000),
        ("3만 남는다", 3),
        ("$2M", 2_000_000),
        ("€3.5bn", 3_500_000_000),
        ("2 m", 2),
        ("36 m^2", 36),
        ("2x10^3", 2000),
        ("2^3", 3),
        ("(1,2,3)", 3),
        ("Numbers: 100 200 300", 300),
        ("Q1 250", 250),
        ("March 5,2024", 2024),
        ("between (0,100)", 100),
        ("The roots are 3,4", 4),
        ("111 " * 2000, 111),
    ],
)
def test_numbers_as_other_countries_write_them(text, value):
    assert final_number(text).value == value


def test_a_text_that_is_one_number():
    assert all(
        map(
            is_number,
            [
                "42",
                "-1,234.5",
                "$5.00",
                "12 €",
                "3/4",
                "50 %",
                "12 000",
                "₹1,234",
                "**42**",
                "12 + 3 = 15",
            ],
        )
    )
    assert not any(map(is_number, ["2024-05-12", "10:30", "3:4", "192.168.0.1", "5 km", "1, 2"]))
