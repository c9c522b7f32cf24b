"""Yes needs every condition, no needs one broken, and the numbers are the evaluation's own."""

import pytest

from tests.evaluate.judging import finding, forgetting, summary
from tunesmith.evaluate.summary import Summary
from tunesmith.evaluate.verdict import judge

GAINED = summary(base=20, tuned=80)
FORGOT = forgetting(finding("forgotten", change=(-0.2, -0.25, -0.15)))
UNCLEAR = forgetting(finding("unclear", change=(-0.04, -0.08, 0.0)))
FELL = {"json": {"base": 99, "tuned": 50}}


@pytest.mark.parametrize(
    ("found", "kept", "answer", "reasons"),
    [
        (GAINED, forgetting(), "yes", ("better",)),
        (GAINED, None, "yes", ("better",)),
        (GAINED, FORGOT, "no", ("better", "forgot")),
        (GAINED, UNCLEAR, "cannot-tell", ("better", "forgetting-unclear")),
        (summary(base=20, tuned=80, others=FELL), None, "no", ("better", "fell")),
        (summary(base=80, tuned=20), forgetting(), "no", ("not-better",)),
        (summary(base=80, tuned=20), UNCLEAR, "no", ("not-better", "forgetting-unclear")),
        (summary(base=50, tuned=51), forgetting(), "cannot-tell", ("too-few-rows",)),
        (summary(base=50, tuned=51), FORGOT, "no", ("too-few-rows", "forgot")),
        (summary(base=50, tuned=51, others=FELL), None, "no", ("too-few-rows", "fell")),
        (summary(tuned=80), forgetting(), "cannot-tell", ("nothing-to-compare",)),
        (summary(tuned=None, base=10), None, "cannot-tell", ("no-scores",)),
        (summary(tuned=80, base=None), None, "cannot-tell", ("nothing-to-compare",)),
        (Summary((), 0.95), forgetting(), "cannot-tell", ("no-purpose",)),
        (Summary((), 0.95), FORGOT, "no", ("no-purpose", "forgot")),
    ],
)
def test_the_answer_follows_from_its_reasons(found, kept, answer, reasons):
    verdict = judge(found, forgetting=kept)
    assert (verdict.answer, verdict.reasons) == (answer, reasons)


def test_another_check_that_rose_makes_no_yes():
    flat = summary(base=50, tuned=51, others={"json": {"base": 10, "tuned": 99}})
    assert judge(flat).answer == "cannot-tell"


def test_the_best_other_arm_must_be_beaten_not_the_base():
    assert judge(summary(base=10, prompted=60, tuned=58)).answer == "cannot-tell"
    assert judge(summary(base=10, prompted=90, tuned=58)).answer == "no"
    assert judge(summary(base=10, prompted=20, tuned=58)).answer == "yes"


def test_what_fell_and_what_was_forgotten_can_be_asked_for():
    verdict = judge(summary(base=20, tuned=80, others=FELL), forgetting=FORGOT)
    assert [check.name for check in verdict.fell] == ["json"]
    assert [each.probe for each in verdict.forgotten] == ["piqa"]
    assert judge(GAINED).forgotten == ()


def test_the_document_holds_the_interval_that_decided():
    verdict = judge(GAINED, forgetting=UNCLEAR)
    document = verdict.to_json()
    difference = GAINED.gain.difference
    assert document == {
        "answer": "cannot-tell",
        "reasons": ["better", "forgetting-unclear"],
        "check": "label",
        "against": "base",
        "difference": {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": 100,
        },
        "rows_needed": None,
        "changed": {},
        "forgetting": "unclear",
    }
    # with one other arm it is also the table's
    assert GAINED.checks[0].differences["base"] == difference
