import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, R, nDCG

from tunesmith.errors import RagError
from tunesmith.rag.metrics import ndcg_at, recall_at, reciprocal_rank
from tunesmith.rag.threshold import fit_threshold

NAMES = st.lists(st.sampled_from("abcdefghijkl"), unique=True)


@given(ranking=NAMES, relevant=NAMES.filter(bool))
def test_metrics_are_those_of_ir_measures(ranking, relevant):
    judged = {"q": dict.fromkeys(relevant, 1)}
    run = {"q": {name: float(-rank) for rank, name in enumerate(ranking)}}
    measures = [R @ 1, R @ 5, RR, nDCG @ 10]
    theirs = ir_measures.calc_aggregate(measures, judged, run) if ranking else {}
    ours = {
        R @ 1: recall_at(1, ranking, relevant),
        R @ 5: recall_at(5, ranking, relevant),
        RR: reciprocal_rank(ranking, relevant),
        nDCG @ 10: ndcg_at(10, ranking, relevant),
    }
    assert ours == pytest.approx(theirs or dict.fromkeys(ours, 0.0))


SCORES = st.lists(st.floats(-1, 1), min_size=1)


@given(right=SCORES, wrong=SCORES, most=st.floats(0, 0.5))
def test_a_threshold_refuses_no_more_answers_than_allowed_and_none_higher_does(right, wrong, most):
    fit = fit_threshold(right, wrong, most_false_refusals=most)
    assert fit.false_refusals == sum(s < fit.score for s in right) / len(right) <= most
    assert fit.refusals == sum(s < fit.score for s in wrong) / len(wrong)
    above = [score for score in right if score > fit.score]
    if above:
        assert sum(s < min(above) for s in right) / len(right) > most


@given(right=SCORES, wrong=SCORES, most=st.floats(0, 0.5))
def test_a_threshold_as_it_is_shown_keeps_its_promise(right, wrong, most):
    fit = fit_threshold(right, wrong, most_false_refusals=most, decimals=2)
    shown = float(f"{fit.score:.2f}")
    assert fit.false_refusals == sum(s < shown for s in right) / len(right) <= most
    assert fit.refusals == sum(s < shown for s in wrong) / len(wrong)


def test_a_threshold_needs_both_kinds_of_questions():
    with pytest.raises(RagError):
        fit_threshold([], [0.1])
