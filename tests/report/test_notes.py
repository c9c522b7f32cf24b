"""Beside the plots: answers that were cut, arms that are missing, and when training is repaid."""

import pytest

from tunesmith.core.phrases import Phrases
from tunesmith.report.page import PHRASES
from tunesmith.report.run_page import cost_notes, cut_notes, result_notes

WORDS = Phrases(PHRASES)
REPAID = {
    "against": "prompted",
    "seconds_saved": 0.12,
    "training_seconds": 600,
    "requests_by_time": 5000,
    "saved_per_million": -3.5,
    "training_cost": None,
    "requests_by_cost": None,
}


def test_cut_answers_and_missing_arms_are_told():
    evaluation = {
        "rows": 50,
        "arms": {"base": {"cut": 3}, "tuned": {"cut": 0}, "other": {}},
        "left_out": {"prompted": "the prompt is too long"},
    }
    assert list(result_notes(evaluation, WORDS)) == [
        "base with your prompt left out: the prompt is too long",
    ]
    assert list(cut_notes(evaluation, WORDS, tuned=False)) == [
        "base: 3 of 50 answers were cut at `evaluate.max_new_tokens`.",
    ]
    evaluation["arms"]["tuned"]["cut"] = 1
    assert next(iter(result_notes(evaluation, WORDS))).startswith("tuned: 1 of 50 answers was cut")
    assert list(result_notes({}, WORDS)) == []


def test_what_a_request_saves_and_when_training_is_repaid():
    assert list(cost_notes({"cost": REPAID}, WORDS)) == [
        "Against base with your prompt an answer comes 120 ms sooner.",
        "The 10:00 of training are repaid after 5,000 requests.",
        "Against base with your prompt a million requests cost 3.50 more.",
    ]
    assert list(cost_notes({"cost": None}, WORDS)) == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_seconds_that_cannot_be_told_apart_are_told_so(language):
    unclear = {**REPAID, "seconds_saved_low": -0.3, "seconds_saved_high": 0.7}
    told = next(iter(cost_notes({"cost": unclear}, Phrases(PHRASES, language))))
    assert "300 ms" in told
    assert "700 ms" in told


@pytest.mark.parametrize("money", [2.0, -2.0])
@pytest.mark.parametrize("seconds", [0.5, -0.5])
def test_every_sentence_exists_in_korean(money, seconds):
    cost = {"seconds_saved": seconds, "saved_per_million": money}
    cost |= {"training_cost": 9.0, "requests_by_cost": 1}
    evaluation = {"rows": 5, "arms": {"tuned": {"cut": 1}}, "left_out": {"tuned": "x"}}
    korean = Phrases(PHRASES, "ko")
    told = [*cost_notes({"cost": {**REPAID, **cost}}, korean), *result_notes(evaluation, korean)]
    assert len(told) == 6
    assert all("{" not in text for text in told)
