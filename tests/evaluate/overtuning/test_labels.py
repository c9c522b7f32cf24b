"""Labels and warnings: what answers a blind model would give, and whose loss is left."""

import math

import pytest

from tunesmith.data.faults import Note
from tunesmith.data.quality.contradictions import CHOICES
from tunesmith.evaluate.overtuning.labels import labels_of
from tunesmith.evaluate.overtuning.warned import warned_of


def test_a_blind_model_loses_the_entropy_of_the_answers():
    found = labels_of(["a", "b", "A.", "b"] * 5, [2] * 20)
    assert found.classes == 2
    assert found.blind_loss == pytest.approx(math.log(2) / 2)


def test_free_texts_and_single_answers_are_no_labels():
    assert labels_of([f"text {i}" for i in range(20)], [4] * 20) is None
    assert labels_of(["yes"] * 20, [2] * 20) is None
    assert labels_of([str(i % 7) for i in range(20)], [2] * 20) is None


def warned(count, lines, *, code="contradictions", message=f"x: {CHOICES}", losses=None):
    note = Note(code, message, count, tuple(lines))
    losses = losses or [1.0 + 0.01 * (i % 3) if i in lines else 0.01 for i in range(1, 21)]
    found = warned_of([note], rows=100, lines=range(1, 21), losses=losses, seed=0)
    return found.get(code)


def test_rows_that_are_warned_of_are_set_against_the_others():
    found = warned(10, range(1, 11))
    assert (found.rows, found.share, found.choices) == (10, 0.1, True)
    assert found.above.low > 0.9
    assert found.loss_share > 0.98


def test_rows_that_are_not_all_listed_are_counted_only():
    found = warned(5000, range(1, 11))
    assert (found.share, found.above, found.loss_share) == (1.0, None, None)


def test_texts_are_no_choices_and_other_notes_are_left_out():
    assert not warned(10, range(1, 11), message="x").choices
    assert warned(10, range(1, 11), code="inserted_system_prompt") is None
