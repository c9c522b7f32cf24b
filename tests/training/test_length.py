"""Step size and passes that settings leave open."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config import TrainSettings
from tunesmith.config.methods import default_methods
from tunesmith.config.run import ANSWERED, MAX_ANSWERED
from tunesmith.core.errors import ConfigError
from tunesmith.core.language import localized
from tunesmith.training.length import (
    EPOCHS,
    MAX_STEPS_A_PASS,
    MAX_TOKENS_PER_STEP,
    MIN_ROWS_PER_STEP,
    PATIENCE,
    ROWS_PER_STEP,
    STEPS_A_PASS,
    answered_of,
    choose_length,
)
from tunesmith.training.steps import total_steps

OTHERS = {"has_held": False, "copies": (), "checked_by": None}
METHODS = default_methods()
LENGTHS = st.lists(st.integers(2, 300), min_size=1, max_size=400)


def chosen(lengths, *, method="lora", **given):
    others = {key: given.pop(key, default) for key, default in OTHERS.items()}
    return choose_length(TrainSettings(**given), lengths, method=METHODS[method], **others)


@given(LENGTHS, st.sampled_from(sorted(METHODS)))
def test_there_are_enough_steps_or_the_most_passes_of_the_method(lengths, name):
    train, method = chosen(lengths, method=name).settings, METHODS[name]
    assert EPOCHS <= train.epochs <= method.max_epochs
    steps = total_steps(lengths, train)
    assert steps >= method.enough_steps or train.epochs == method.max_epochs


def test_a_prompt_takes_more_passes_than_other_methods():
    assert chosen([20] * 60, method="prompt").settings.epochs == 40
    others = METHODS.keys() - {"prompt"}
    assert {chosen([20] * 60, method=name).settings.epochs for name in others} == {10}


@given(st.integers(1, 3000), st.integers(1, 2000))
def test_a_step_has_some_rows_and_no_more_tokens_than_the_most(rows, length):
    size = chosen([length] * rows).settings.tokens_per_step
    few = min(ROWS_PER_STEP, max(MIN_ROWS_PER_STEP, rows / STEPS_A_PASS))
    few = max(few, rows / MAX_STEPS_A_PASS)
    assert size == pytest.approx(min(MAX_TOKENS_PER_STEP, few * length), abs=1)


@given(st.integers(1, 500))
def test_more_rows_never_get_more_passes(rows):
    fewer, more = (chosen([20] * n).settings.epochs for n in (rows, 2 * rows))
    assert more <= fewer


def test_rows_that_count_twice_are_as_many():
    assert chosen([20] * 30, copies=[2.0] * 30) == chosen([20] * 60)


def test_the_loss_of_held_out_rows_may_end_it():
    train = chosen([20] * 30, has_held=True).settings
    assert train.patience == PATIENCE
    assert train.evaluate_steps == total_steps([20] * 30, train.model_copy(update={"epochs": 1.0}))
    finer = chosen([20] * 30, has_held=True, evaluate_steps=2).settings
    assert finer.patience == math.ceil(PATIENCE * train.evaluate_steps / 2)
    assert train.average_steps == train.average_window == train.evaluate_steps
    whole = chosen([20] * 600, has_held=True).settings  # whose passes are too few to end early
    assert (whole.epochs, whole.average_window) == (EPOCHS, 0)
    assert chosen([20] * 600, has_held=True, patience=1).settings.average_window > 0
    assert chosen([20] * 30).settings.patience is None
    assert chosen([20] * 30).settings.average_window == 0
    assert chosen([20] * 30, has_held=True, average_steps=0).settings.average_window == 0
    given = chosen([20] * 30, has_held=True, patience=9, evaluate_steps=2).settings
    assert (given.patience, given.evaluate_steps) == (9, 2)


def test_training_rows_are_answered_where_a_rule_decides_and_rows_are_held_out():
    found = chosen([20] * 60, has_held=True, checked_by="rule")
    assert found.settings.answered_rows == ANSWERED
    assert found.reason.endswith(
        "the best pass is the one that gets most of 48 training rows right"
    )
    assert chosen([20] * 60, has_held=True).settings.answered_rows == 0
    assert chosen([20] * 60, checked_by="rule").settings.answered_rows == 0
    many = chosen([20] * 400, has_held=True, checked_by="rule").settings
    assert (many.answered_rows, many.average_steps) == (80, "auto")  # three passes
    assert [answered_of(rows) for rows in (5, 250, 5000)] == [ANSWERED, 50, MAX_ANSWERED]
    for given_ in (0, 7):
        few = chosen([20] * 60, has_held=True, checked_by="rule", answer_rows=given_).settings
        assert few.answered_rows == given_
        assert chosen([20] * 60, has_held=True, answer_rows=given_).settings.answered_rows == given_


def test_tokens_right_decide_where_answers_are_compared_and_rows_are_held_out():
    """Whatever the length; not where something else was asked for."""
    found = chosen([20] * 60, has_held=True, checked_by="reference")
    assert (found.settings.best_by, found.settings.answered_rows) == ("token_accuracy", 0)
    assert found.reason.endswith(
        "the best checkpoint is the one that gets most held-out tokens right"
    )
    given_ = chosen([20] * 60, has_held=True, checked_by="reference", steps=7, rows_per_step=4)
    assert given_.settings.best_by == "token_accuracy"
    for more in (
        {"has_held": False},
        {"checked_by": "rule"},
        {"checked_by": None},
        {"answer_rows": 7},
        {"best_by": "loss"},
    ):
        settings = chosen(
            [20] * 60, **{"has_held": True, "checked_by": "reference", **more}
        ).settings
        assert settings.best_by == more.get("best_by", "auto")


@pytest.mark.parametrize("values", [{"steps": 7}, {"minutes": 2.0}, {"epochs": 2.0}])
def test_what_is_given_stays(values):
    found = chosen([20] * 30, has_held=True, rows_per_step=4, **values)
    assert found.reason is None
    assert found.settings == TrainSettings(rows_per_step=4, **values)
    sized = chosen([20] * 30, **values).settings
    assert sized.tokens_per_step == 20 * MIN_ROWS_PER_STEP
    assert sized.patience is None


def test_null_is_what_earlier_versions_took():
    found = chosen([20] * 3000, epochs=None, tokens_per_step=None)
    assert found.reason is None
    assert total_steps([20] * 3000, found.settings) == 3 * math.ceil(60_000 / (4096 // 20 * 20))


def test_it_says_what_and_why():
    assert chosen([20] * 60, has_held=True).reason == (
        "auto: steps of up to 80 tokens (4 rows); 10 passes over 60 rows, 150 steps; "
        "fewer if 3 passes in a row bring no better checkpoint; "
        "the result is the average of the weights over a pass"
    )


@pytest.mark.parametrize("values", [{}, {"epochs": 3}, {"rows_per_step": 4}])
@pytest.mark.parametrize("checked_by", [None, "rule", "reference"])
def test_it_says_so_in_korean_too(values, checked_by):
    found = chosen([20] * 60, has_held=True, checked_by=checked_by, **values)
    assert re.findall("[A-Za-z]+", localized(found.reason or "", "ko")) == []


@pytest.mark.parametrize("values", [{"epochs": 0}, {"tokens_per_step": 0}, {"epochs": "many"}])
def test_nonsense_is_refused(values):
    with pytest.raises(ConfigError):
        TrainSettings(**values)
