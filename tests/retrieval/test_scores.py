""""""

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, R, nDCG

from tunesmith.core.errors import RagError
from tunesmith.retrieval.confidence import fit_threshold
from tunesmith.retrieval.prompt import REFUSALS, CitedSource, check_citations
from tunesmith.retrieval.scores import (
    citation_precision,
    exact_match,
    f1,
    faithfulness,
    ndcg_at,
    recall_at,
    reciprocal_rank,
    refuses,
    says,
    words_of,
)

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


@given(right=SCORES, wrong=SCORES, limit=st.floats(0, 0.5))
def test_a_threshold_refuses_no_more_answers_than_allowed_and_none_higher_does(right, wrong, limit):
    fit = fit_threshold(right, wrong, max_false_refusals=limit)
    assert fit.false_refusals == sum(s < fit.score for s in right) / len(right) <= limit
    assert fit.refusals == sum(s < fit.score for s in wrong) / len(wrong)
    above = [score for score in right if score > fit.score]
    if above:
        assert sum(s < min(above) for s in right) / len(right) > limit


@given(right=SCORES, wrong=SCORES, limit=st.floats(0, 0.5))
def test_a_threshold_as_it_is_shown_keeps_its_promise(right, wrong, limit):
    fit = fit_threshold(right, wrong, max_false_refusals=limit, decimals=2)
    shown = float(f"{fit.score:.2f}")
    assert fit.false_refusals == sum(s < shown for s in right) / len(right) <= limit
    assert fit.refusals == sum(s < shown for s in wrong) / len(wrong)


def test_a_threshold_needs_both_kinds_of_questions():
    with pytest.raises(RagError):
        fit_threshold([], [0.1])


TEXT = st.text(alphabet="abthe .,[1]", max_size=30)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  Cat, sat!", ["cat", "sat"]),
        ("an U.S. army", ["us", "army"]),
        ("thirty days [2], [1, 3]", ["thirty", "days"]),
        ("theatre-a", ["theatrea"]),
        ("서울은 수도다.", ["서울은", "수도다"]),
        ("it’s “thirty days”—no more…", ["its", "thirty", "days", "no", "more"]),
        ("年假为三十天。公司", ["年假为三十天", "公司"]),
    ],
)
def test_words_are_those_of_squads_official_normalisation(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("answer", "right", "score"),
    [
        ("The Denver Broncos", ["Denver Broncos"], 1.0),
        ("Broncos", ["Denver Broncos"], 2 / 3),
        ("it was Denver", ["Carolina", "Denver"], 0.5),
        ("b b b", ["b"], 0.5),
        ("", ["x"], 0.0),
    ],
)
def test_f1_is_that_of_the_best_right_answer(answer, right, score):
    assert f1(answer, right) == pytest.approx(score)


@given(answer=TEXT, right=st.lists(TEXT, min_size=1, max_size=3))
def test_an_exact_answer_has_all_of_f1_and_f1_lies_within_bounds(answer, right):
    score = f1(answer, right)
    assert 0 <= score <= 1
    if exact_match(answer, right) and words_of(answer):
        assert score == pytest.approx(1)


@given(answer=TEXT, before=TEXT, after=TEXT)
def test_a_text_says_the_answer_that_stands_in_it(answer, before, after):
    assert says(f"{before} | {answer} | {after}", answer) == bool(words_of(answer))


def test_words_must_stand_together():
    assert not says("forty-two or two hundred", "hundred two")
    assert not says("thirteenth", "thirteen")


@pytest.mark.parametrize(
    ("text", "answer", "is_said"),
    [
        ("연차는 30일입니다.", "30일", True),
        ("연차는 130일입니다.", "30일", False),
        ("연차는 30일입니다.", "30", True),
        ("담당자는 김민수이다.", "김민수", True),
        ("동물은 못 들어옵니다.", "물", False),
        ("年假为三十天。", "三十天", True),
        ("年假为二百三十天。", "三十天", False),
        ("休暇は三十日です。", "三十日", True),
        ("iPhone은 안 됩니다.", "iPhone", True),
        ("He said “thirty days” to us.", "thirty days", True),
        ("It lasts thirty days—no more.", "thirty days", True),
    ],
)
def test_words_are_found_before_particles_between_characters_and_in_quotes(text, answer, is_said):
    assert says(text, answer) is is_said


def test_scripts_without_blanks_are_compared_by_characters():
    assert f1("30일입니다 [1]", ["30일"]) == pytest.approx(2 * 0.4 / 1.4)
    assert f1("三十天", ["三十日"]) == pytest.approx(2 / 3)
    source = [CitedSource(1, "a", "연차는 30일이고, 병가는 따로 있습니다.")]
    assert faithfulness("연차는 30일 [1]", source, [1]) == 1
    assert faithfulness("연차는 31일 [1]", source, [1]) == 0.75
    assert faithfulness("김민수 [1]", source, [1]) == 0


SOURCES = [
    CitedSource(1, "a", "Dogs may come on Fridays."),
    CitedSource(2, "b", "Thirty days of leave."),
]


def test_only_what_the_cited_sources_say_is_faithful():
    assert faithfulness("thirty days [2]", SOURCES, [2]) == 1
    assert faithfulness("thirty dogs [2]", SOURCES, [2]) == 0.5
    assert faithfulness("thirty days", SOURCES, []) == 0


def test_precision_counts_wrong_and_unknown_numbers():
    def precision(answer):
        return citation_precision(check_citations(answer, SOURCES), {2})

    assert precision("x [2]") == 1
    assert precision("x [1, 2]") == 0.5
    assert precision("x [2] [9]") == 0.5
    assert precision("x") is None


@pytest.mark.parametrize("refusal", REFUSALS.values())
def test_refusals_are_seen(refusal):
    assert refuses(refusal)
    assert not refuses("thirty days [1]")
