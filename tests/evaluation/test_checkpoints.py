"""The best checkpoint: score minus what was forgotten, ties to the earlier one, explained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.evaluation.checkpoints import Checkpoint, choose_checkpoint
from tunesmith.evaluation.findings import words_in
from tunesmith.evaluation.overfitting import choice_text


def points(*triples, error=0.0):
    return [Checkpoint(step, score, forgotten, error) for step, score, forgotten in triples]


def choose(*triples, error=0.0, unit="share"):
    return choose_checkpoint(points(*triples, error=error), unit=unit)


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.floats(0, 1), st.floats(-0.5, 0.5)),
        min_size=1,
        unique_by=lambda each: each[0],
    ),
    st.floats(0, 0.2),
)
def test_none_is_better_by_more_than_its_error_and_order_does_not_matter(triples, error):
    found = choose(*triples, error=error)
    assert all(each.value <= found.best.value + error + 1e-12 for each in found.checkpoints)
    earlier = [each for each in found.checkpoints if each.step < found.best.step]
    top = max(each.value for each in found.checkpoints)
    assert all(each.value < top - error for each in earlier)
    assert choose(*triples[::-1], error=error) == found
    for language in ("en", "ko"):
        for unit in ("share", "nats"):
            text = choice_text(choose(*triples, error=error, unit=unit), words_in(language))
            assert "{" not in text


@pytest.mark.parametrize(
    ("triples", "error", "step", "reason"),
    [
        ([(10, 0.5, 0.0)], 0.0, 10, "only"),
        ([(10, 0.5, 0.0), (20, 0.8, 0.0)], 0.02, 20, "last"),
        ([(10, 0.8, 0.0), (20, 0.5, 0.0)], 0.02, 10, "highest"),
        ([(10, 0.80, 0.0), (20, 0.81, 0.0)], 0.02, 10, "earlier-as-good"),
        ([(10, 0.80, 0.02), (20, 0.90, 0.30)], 0.02, 10, "less-forgotten"),
        ([(10, 0.80, -0.3), (20, 0.85, 0.0)], 0.02, 20, "last"),  # to gain elsewhere is no score
    ],
)
def test_reasons(triples, error, step, reason):
    found = choose(*triples, error=error)
    assert (found.best.step, found.reason) == (step, reason)


def test_the_explanation_has_the_numbers_of_both():
    found = choose((10, 0.80, 0.02), (20, 0.90, 0.30))
    assert choice_text(found, words_in("en")) == (
        "The checkpoint of step 10 is the best: 80 % pass, 2 % forgotten. Step 20 passes more "
        "(90 %), but forgot 30 %."
    )


def test_losses_are_scores_with_a_minus():
    found = choose((10, -0.5, 0.0), (20, -0.4, 0.3), unit="nats")
    assert found.best.step == 10
    assert "held-out loss 0.500" in choice_text(found, words_in("en"))
    assert found.to_json()["checkpoints"][1]["value"] == pytest.approx(-0.7)


@pytest.mark.parametrize("triples", [[], [(1, 0.5, 0.0), (1, 0.6, 0.0)]])
def test_none_or_a_step_given_twice_is_refused(triples):
    with pytest.raises(ValueError, match="at least one, each step given once"):
        choose(*triples)
