"""steps: form and correctness are told apart."""

import pytest

from tunesmith.config.checks import StepsSettings
from tunesmith.config.faults import validate
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import Case
from tunesmith.evaluation.checks.numbers import steps_check

OWN = "Ann has 3 * 2 = 6.\nBob has 6 + 1 = 7.\n#### 7"
NUMBERED = "Step 1: 3 * 2 = 6\nStep 2: 6 + 1 = 7\nThe answer is 7."


def score(answer, reference=OWN, **settings):
    return steps_check(StepsSettings(**settings)).score(answer, reference)


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (OWN, 1),
        ("a\nb\n#### 3", 1),  # a wrong answer in the right form
        ("a\n\n  b  \n\n#### 3\n", 1),
        ("a\n#### 3", 0),
        ("a\nb", 0),
        ("a\nb\n####", 0),
        ("a\nb\n#### 3\nand more", 0),
        ("#### 3\na\nb", 0),
        ("#### 3", 0),
    ],
)
def test_lines_before_the_final_answer_are_steps(answer, passes):
    assert score(answer) == passes


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (NUMBERED, 1),
        ("1. a\n2) b\n#### 7", 1),
        ("**Step 1:** a\n**Step 2:** b\n#### 7", 1),
        ("1단계: 가\n2단계: 나\n정답은 7", 1),
        ("2. a\n1. b\n#### 7", 0),
        ("1. a\n3. b\n#### 7", 0),
        ("1. a\n1. b\n#### 7", 0),
        ("a\nb\n#### 7", 0),
        ("1. a\n2. b", 0),
        ("1. a\n2. b\n#### 7\n3. c", 0),
        ("1. 3.5 is a\n2.5 is no label\n2. b\n#### 7", 1),
    ],
)
def test_numbered_steps_must_count_up_from_one(answer, passes):
    assert score(answer, steps="numbered") == passes


def test_auto_follows_the_datas_answer():
    assert score("a\nb\n#### 7", NUMBERED) == 0
    assert score("a\nb\n#### 7", OWN) == 1


def test_counts_have_limits():
    assert score("a\n#### 3", at_least=1) == 1
    assert score("a\nb\nc\n#### 3", at_most=2) == 0
    with pytest.raises(ConfigError, match=r"at_most \(1\) is less than at_least \(2\)"):
        validate(StepsSettings, {"at_most": 1}, source="a.yaml")


def test_form_and_correctness_are_figures_of_their_own():
    cases = [
        Case(OWN, OWN),
        Case("a\nb\n#### 8", OWN),
        Case("It is 7.", OWN),
        Case("8", OWN),
    ]
    figures = steps_check(StepsSettings()).aggregate(cases)
    assert figures["form"] == 0.5
    assert figures["correct"] == 0.5
    assert figures["correct_and_form"] == figures["correct_without_form"] == 0.25
    assert figures["final_answer"] == 0.5
    assert figures["mean_steps"] == (2 + 2 + 1 + 1) / 4


def test_a_final_answer_without_a_number_is_compared_as_text():
    own = "a\nb\nThe answer is blue"
    figures = steps_check(StepsSettings()).aggregate([Case(own, own), Case("red", own)])
    assert figures["correct"] == 0.5
