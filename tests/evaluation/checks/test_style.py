"""style: learned from both sides' answers, honest on those it has seen, silent where it cannot."""

import random

import pytest

from tunesmith.config.checks import ExactSettings, StyleSettings
from tunesmith.evaluation.checks import style
from tunesmith.evaluation.checks.check import CannotScore, Case, Check, fit_checks, score_cases
from tunesmith.evaluation.checks.table import build_checks

WORDS = ["order", "parcel", "refund", "account", "invoice", "card", "letter", "train", "shop"]


def sentences(count, *, polite, seed):
    rng = random.Random(seed)
    end = ", if you please, dear customer" if polite else " I guess whatever lol"
    return [" ".join(rng.choices(WORDS, k=8)) + end for _ in range(count)]


def fitted(own, base):
    (check,) = fit_checks(build_checks([StyleSettings()]), own=own, base=base)
    return check


def test_it_learns_which_side_an_answer_is_like():
    check = fitted(sentences(60, polite=True, seed=0), sentences(40, polite=False, seed=1))
    assert all(check.score(text) == 1 for text in sentences(20, polite=True, seed=2))
    assert all(check.score(text) == 0 for text in sentences(20, polite=False, seed=3))
    figures = check.aggregate([Case("x")])
    assert figures["accuracy"] == figures["own_answers_pass"] == 1
    assert figures["base_answers_pass"] == 0
    assert figures["learned_from"] == {"own": 60, "base": 40}


def test_answers_it_was_trained_on_are_judged_as_if_unseen():
    """Both sides are noise: a classifier that knew its own answers would tell them apart."""
    rng = random.Random(0)
    own, base = ([f"{rng.getrandbits(200):x}" for _ in range(150)] for _ in range(2))
    is_own = style.cross_fitted(own, base)
    share = (sum(map(is_own, own)) + sum(not is_own(text) for text in base)) / 300
    assert share == pytest.approx(0.5, abs=0.1)


def test_where_it_cannot_tell_no_answer_has_a_score_and_the_reason_stands_there():
    check = fitted(sentences(60, polite=True, seed=0), sentences(60, polite=True, seed=1))
    scored = score_cases(check, [Case("a"), Case("b")])
    assert scored.scores == (None, None)
    assert "it cannot tell the data's answers from the base's: it is right in" in scored.errors[1]


def test_few_different_answers_are_not_enough():
    check = fitted(sentences(60, polite=True, seed=0), ["same"] * 100)
    with pytest.raises(CannotScore, match=r"20 different answers of each; 1 of the base's"):
        check.score("a")


def test_without_a_fit_there_is_no_score():
    (check,) = build_checks([StyleSettings()])
    with pytest.raises(CannotScore, match="has not been fitted"):
        check.score("a")


def test_order_and_repetition_of_answers_do_not_matter():
    own, base = sentences(40, polite=True, seed=0), sentences(40, polite=False, seed=1)
    own[:8], base[:8] = base[:8], own[:8]  # so that it is not always right
    once, again = fitted(own, base), fitted([*reversed(own), *own], base[::-1])
    probes = [*own, *base, *sentences(10, polite=True, seed=5)]
    assert [once.score(text) for text in probes] == [again.score(text) for text in probes]
    assert once.aggregate([Case("x")]) == again.aggregate([Case("x")])


def test_a_fit_that_fails_leaves_the_other_checks():
    def fit(own, base):
        raise ValueError("no memory")

    broken = Check(name="x", rule=lambda case: 1.0, fit=fit)
    exact, failed = fit_checks([*build_checks([ExactSettings()]), broken], own=[], base=[])
    assert exact.score("a", "a") == 1
    with pytest.raises(CannotScore, match="could not be fitted: ValueError: no memory"):
        failed.score("a", "a")
