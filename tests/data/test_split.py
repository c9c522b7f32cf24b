"""Holding out: no prompt on both sides, the same choice every time."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.tiny import talk
from tunesmith.data.split import hold_out, prompt_key
from tunesmith.errors import DataError

ROWS = [talk(f"question {n // 2}", "answer", line=n) for n in range(200)]


@given(
    prompts=st.lists(st.integers(0, 8), min_size=2, max_size=40),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_each_row_is_on_one_side_and_each_prompt_too(prompts, share, seed):
    rows = [talk(f"question {p}", "a", line=n) for n, p in enumerate(prompts)]
    if len(set(prompts)) < 2:
        with pytest.raises(DataError):
            hold_out(rows, share=share, seed=seed)
        return
    train, held = hold_out(rows, share=share, seed=seed)
    assert train
    assert held
    assert sorted(row.line for row in train + held) == list(range(len(rows)))
    assert set(map(prompt_key, train)).isdisjoint(map(prompt_key, held))
    assert [row.line for row in held] == sorted(row.line for row in held)


def test_case_and_white_space_do_not_make_another_prompt():
    twins = [talk("Set an  Alarm", "a"), talk("set an alarm\n", "b", line=2)]
    assert prompt_key(twins[0]) == prompt_key(twins[1])
    assert prompt_key(twins[0]) != prompt_key(talk("set an alarm", "a", system="s"))


def test_prompt_of_a_later_trained_answer_holds_the_turns_before_it():
    row = talk("a", "b", "c", "d")
    assert prompt_key(row) == "user: a"
    assert "assistant: b" in prompt_key(dataclasses.replace(row, completion_from=3))


def test_the_share_is_met_where_prompts_allow():
    train, held = hold_out(ROWS, share=0.1, seed=0)
    assert (len(train), len(held)) == (180, 20)


def test_choice_depends_on_the_seed_and_not_on_the_order_of_rows():
    lines = {row.line for row in hold_out(ROWS, share=0.1, seed=1)[1]}
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    assert {row.line for row in hold_out(shuffled, share=0.1, seed=1)[1]} == lines
    assert {row.line for row in hold_out(ROWS, share=0.1, seed=2)[1]} != lines


def test_one_prompt_alone_cannot_be_split():
    with pytest.raises(DataError, match="with 1 different prompt cannot") as caught:
        hold_out([talk("q", "a"), talk("Q", "b", line=2)], share=0.5, seed=0)
    assert "--data.eval" in caught.value.remedy
