"""Consistency judged: what is simulated is found, and equal arms draw no false difference."""

import numpy as np
import pytest

from tunesmith.config.checks import ExactSettings
from tunesmith.evaluation.checks.check import CannotScore, Case, Check
from tunesmith.evaluation.checks.label import label_of
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.consistency import (
    AnswerComparison,
    agreements,
    assess_consistency,
    measure_repeats,
)

(EXACT,) = build_checks([ExactSettings()])
READING = AnswerComparison(EXACT, label_of([]))


def groups(rng, share, *, questions=60, times=5):
    """Questions of which a share is answered alike each time; in others two answers alternate."""
    steady = rng.random(questions) < share
    return [
        [Case("right" if s or k % 2 == 0 else f"wrong {k}", "right", f"q{q}") for k in range(times)]
        for q, s in enumerate(steady)
    ]


def judged(base, tuned, seed=0, **more):
    rng = np.random.default_rng(seed)
    samples = {"base": groups(rng, base, **more), "tuned": groups(rng, tuned, **more)}
    return assess_consistency(samples, {}, READING, temperature=0.7, seed=0)


def test_a_steadier_arm_is_found_with_its_interval():
    found = judged(0.2, 0.9)
    change = found.samples.differences["base"]
    assert change["passes"].low > 0.4
    assert change["label"].low > 0
    assert change["length_spread"].high < 0
    assert found.paraphrases is None
    assert (found.times, found.wordings) == (5, 0)


@pytest.mark.usefixtures("few_resamples")
def test_equal_arms_differ_as_seldom_as_promised():
    hits = dict.fromkeys(("passes", "label", "form", "length_spread"), 0)
    repeats = 100
    for repeat in range(repeats):
        rng = np.random.default_rng([1, repeat])
        rows = {arm: groups(rng, 0.5, questions=30) for arm in ("base", "tuned")}
        arms = {arm: agreements(each, READING) for arm, each in rows.items()}
        change = measure_repeats(arms, seed=0).differences["base"]
        for name in hits:
            hits[name] += not change[name].low <= 0 <= change[name].high
    assert max(hits.values()) <= 0.05 * repeats + 2 * (0.05 * 0.95 * repeats) ** 0.5, hits


def test_questions_are_drawn_and_not_answers():
    few = judged(0.5, 0.5, times=5)
    many = judged(0.5, 0.5, times=50)
    a, b = (each.samples.arms["tuned"]["passes"] for each in (few, many))
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.2)
    assert a.n == b.n == 60


def test_arms_that_were_asked_less_are_compared_over_what_all_were_asked():
    rng = np.random.default_rng(0)
    samples = {"base": groups(rng, 0.5)[:20], "tuned": groups(rng, 0.5)}
    found = assess_consistency(samples, {}, READING, temperature=0.7, seed=0)
    assert found.samples.questions == 20
    assert found.samples.arms["tuned"]["passes"].n == 20


def test_a_check_that_cannot_score_leaves_its_measure_out_and_the_others_in():
    def rule(case):
        raise CannotScore("no")

    broken = AnswerComparison(Check(name="x", rule=rule), label_of([]))
    rng = np.random.default_rng(0)
    samples = {"base": groups(rng, 0.5), "tuned": groups(rng, 0.5)}
    found = assess_consistency(samples, {}, broken, temperature=0.7, seed=0)
    assert set(found.samples.arms["tuned"]) == {"form", "label", "length_spread"}


def test_without_checks_or_a_tuned_arm_the_rest_is_there():
    rng = np.random.default_rng(0)
    samples = {"base": groups(rng, 0.5)}
    found = assess_consistency(
        samples, {}, AnswerComparison(None, label_of([])), temperature=0.7, seed=0
    )
    assert found.samples.differences == {}
    assert "passes" not in found.samples.arms["base"]
    assert found.text().startswith("60 questions, each asked 5 times at temperature 0.7:")


def test_nothing_asked_is_said():
    found = assess_consistency({}, {}, READING, temperature=0.7, seed=0)
    assert found.to_json()["samples"] is None
    assert found.text() == "Consistency when asked again was not measured."


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_text_has_the_tuned_arm_first_with_the_difference(language):
    rng = np.random.default_rng(0)
    samples = {"base": groups(rng, 0.0), "tuned": groups(rng, 1.0)}
    found = assess_consistency(samples, samples, READING, temperature=0.7, seed=0)
    text = found.text(language=language)
    assert "{" not in text
    if language == "en":
        assert "100 % pass every time (base 0 %, +100 points, +88 to +100)." in text
        assert "60 questions, each asked in up to 5 wordings:" in text


def test_graded_scores_are_told_as_such():
    half = AnswerComparison(Check(name="x", rule=lambda case: 0.5), label_of([]))
    rng = np.random.default_rng(0)
    found = assess_consistency({"tuned": groups(rng, 0.5)}, {}, half, temperature=1.0, seed=0)
    assert found.graded
    assert "the lowest score is 50 % on average." in found.text()
