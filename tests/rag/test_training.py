import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rag.test_retrieve import passage
from tunesmith.errors import RagError
from tunesmith.rag.prompt import build_prompt
from tunesmith.rag.questions import Known, Question
from tunesmith.rag.retrieve import Hit
from tunesmith.rag.training import Shares, compose, deal, draw_distractors

QUESTION = Question("How many days of leave are there?", ("thirty days",))
RIGHT = passage(
    "right", "Each employee has, in every year and of whatever kind, leave of thirty days"
)
NEAR = passage(
    "near", "Each employee has, in every year and of whatever kind, leave of twenty days"
)
SAYS = passage("says", "Notice must be given thirty days before.")
OTHERS = [
    passage(f"o{i}", f"{word} are fed by the caretaker")
    for i, word in enumerate(("dogs", "cats", "birds and many other kinds of animals here"))
]
KNOWN = Known(tuple(Hit(p, 1.0) for p in (RIGHT, NEAR, SAYS, *reversed(OTHERS))), (RIGHT,))


def ask(most=10_000):
    return lambda question, passages: build_prompt(
        question, passages, most_tokens=most, count=lambda text: len(text.split())
    )


@given(
    count=st.integers(0, 200),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 10)),
    seed=st.integers(0, 9),
)
def test_kinds_are_dealt_in_the_shares_to_a_row(count, cut, seed):
    a, b = sorted(cut)
    shares = Shares(a / 10, (b - a) / 10, (10 - b) / 10)
    kinds = deal(count, shares, seed=seed)
    assert len(kinds) == count
    assert kinds == deal(count, shares, seed=seed)
    for kind, number in Counter(kinds).items():
        assert abs(number - count * getattr(shares, kind)) <= 1


def test_shares_must_sum_to_one():
    with pytest.raises(RagError, match="do not sum to 1"):
        Shares(0.5, 0.5, 0.5)


def test_distractors_are_hard_ones_that_answer_nothing():
    everything = [RIGHT, NEAR, SAYS, *OTHERS]
    drawn = draw_distractors(QUESTION, KNOWN, everything, count=2, rng=random.Random(0))
    assert drawn[0] == OTHERS[2]  # the best hit that may stand there
    assert drawn[1] in OTHERS


def test_distractors_come_from_the_given_side_alone_where_hits_run_out():
    unseen = Known((), (RIGHT,))
    drawn = draw_distractors(QUESTION, unseen, [RIGHT, OTHERS[0]], count=5, rng=random.Random(0))
    assert drawn == [OTHERS[0]]


@given(seed=st.integers(0, 50))
def test_the_answer_cites_the_number_under_which_the_right_passage_stands(seed):
    row = compose(QUESTION, RIGHT, OTHERS, ask=ask(), rng=random.Random(seed))
    assert row.kind == "distractors"
    assert row.answer == f"thirty days [{row.right}]"
    assert row.prompt.sources[row.right - 1].text == RIGHT.text
    assert set(row.passages) == {RIGHT, *OTHERS}


def test_the_right_passage_stands_in_every_place():
    rows = (compose(QUESTION, RIGHT, OTHERS, ask=ask(), rng=random.Random(i)) for i in range(40))
    assert {row.right for row in rows} == {1, 2, 3, 4}


def test_without_the_right_passage_the_answer_is_the_refusal():
    row = compose(QUESTION, None, OTHERS, ask=ask(), rng=random.Random(0))
    assert (row.kind, row.right, row.answer) == ("none", None, row.prompt.refusal)


@given(most=st.integers(60, 160), seed=st.integers(0, 20))
def test_the_right_passage_is_whole_however_little_room_there_is(most, seed):
    long = [passage(f"l{i}", f"{i} " + "word " * 20) for i in range(3)]
    row = compose(QUESTION, RIGHT, long, ask=ask(most), rng=random.Random(seed))
    if row is None:  # not even alone
        assert compose(QUESTION, RIGHT, (), ask=ask(most), rng=random.Random(0)) is None
    else:
        assert row.prompt.sources[row.right - 1].text == RIGHT.text
        assert row.passages[row.right - 1] == RIGHT


def test_citations_in_a_given_answer_are_replaced():
    question = Question("x?", ("thirty days [7]",))
    row = compose(question, RIGHT, (), ask=ask(), rng=random.Random(0))
    assert (row.kind, row.answer) == ("right", "thirty days [1]")
