"""Holding out: no prompt on both sides, the same choice every time."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.held_out import hold_out, split_rows
from tests.data.tiny import talk
from tunesmith.core.errors import DataError
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.split import (
    MIN_OPENED,
    Prompts,
    SharedTurns,
    choose_held,
    prompt_key,
    turns,
)

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
    with pytest.raises(DataError, match="which all have the same prompt, cannot") as caught:
        hold_out([talk("q", "a"), talk("Q", "b", line=2)], share=0.5, seed=0)
    assert "--data.eval" in caught.value.remedy


def groups_of(rows):
    prompts = Prompts()
    for row in rows:
        prompts.observe(row)
    groups = prompts.groups()
    texts = {}
    for row, number in zip(rows, groups.number.tolist(), strict=True):
        texts.setdefault(number, []).append(row.messages[0].content)
    return {frozenset(some) for some in texts.values()}, groups


def family(rng, count):
    """Long texts that differ from one of them in some of its words."""
    words = [f"{rng.choice('bcdfg')}{rng.choice('aeiou')}{i}" for i in range(60)]
    for _ in range(count):
        other = list(words)
        for place in rng.sample(range(60), rng.randint(2, 9)):
            other[place] = f"x{rng.randrange(1000)}"
        yield " ".join(other)


def test_groups_of_long_texts_do_not_depend_on_the_order_of_rows():
    rng = random.Random(0)
    texts = [text for _ in range(24) for text in family(rng, 40)]
    rows = [talk(text, "a", line=n) for n, text in enumerate(texts)]
    first, _ = groups_of(rows)
    assert 24 <= len(first) < len(rows)
    for seed in range(3):
        assert groups_of(random.Random(seed).sample(rows, len(rows)))[0] == first


def test_near_copies_stay_together_and_the_answer_does_not_matter():
    rows = [talk("how do i reset my card", "a"), talk("How can I reset my card?", "b", line=2)]
    rows += [talk(f"{word} " * 6, "c", line=3 + n) for n, word in enumerate(["one", "two", "six"])]
    first, _ = groups_of(rows)
    assert {len(some) for some in first} == {1, 2}


def test_a_chat_is_on_one_side_in_whatever_form_it_stands():
    rows = []
    for n in range(30):
        said = [" ".join(random.Random(f"{n} {i}").sample("abcdefghijklmnop", 7)) for i in range(4)]
        rows += [talk(*said, line=2 * n), talk(*said[:2], line=2 * n, system="Be kind.")]
        rows.append(dataclasses.replace(talk(*said, line=2 * n), completion_from=3))
    train, held = hold_out(rows, share=0.2, seed=0)
    asked = [{m.content for row in side for m in row.messages[:-1]} for side in (train, held)]
    assert len(held) == 18
    assert asked[0] & asked[1] <= {"Be kind."}


def test_where_nearly_all_rows_are_alike_only_equal_prompts_stay_together():
    colours = ["red", "blue", "green", "white", "black", "pink", "gold", "grey"]
    rows = [talk(f"set the lamp to {c} now", "ok", line=n) for n, c in enumerate(colours)]
    rows += [talk("SET the lamp to red now", "ok", line=8), talk("who are you", "me", line=9)]
    first, groups = groups_of(rows)
    assert sorted(map(len, first)) == [1] * 8 + [2]
    (note,) = groups.notes
    assert (note.code, note.count) == ("split_by_prompt", 9)
    assert split_rows(rows, share=0.3, seed=0)[2] == groups.notes


def test_the_same_share_of_each_stratum_is_held_out():
    rows = [talk(f"word{n} " * 5, "a", line=n) for n in range(100)]
    strata = ["a"] * 70 + ["b"] * 25 + ["c"] * 5
    _, groups = groups_of(rows)
    held, _ = choose_held(groups, share=0.2, seed=0, strata=strata)
    counts = {
        name: sum(h for h, s in zip(held, strata, strict=True) if s == name) for name in "abc"
    }
    assert counts == {"a": 14, "b": 5, "c": 1}


def test_a_group_of_several_strata_belongs_to_the_most_common():
    rows = [talk(f"q{n // 3} is here now", "a", line=n) for n in range(60)]
    strata = ["a" if n % 3 else "b" for n in range(60)]
    held, _ = choose_held(groups_of(rows)[1], share=0.5, seed=0, strata=strata)
    assert sum(held) == 30
    assert all(len(set(held[n : n + 3].tolist())) == 1 for n in range(0, 60, 3))


CHAT = talk("How do I reset it?", "Click here.", "And then?", "Read the mail.")


def pairs(rows, *, limit=0.5, apart=False):
    shared = SharedTurns()
    for number, row in enumerate(rows):
        shared.observe(row, under=number)
    return shared.pairs(limit=limit, apart=apart).tolist()


def test_a_turn_is_the_same_trained_or_not():
    last = turns(dataclasses.replace(CHAT, completion_from=3))
    assert last.trained + last.given == turns(CHAT).trained[::-1]
    assert turns(talk("how do i  RESET it?", "x")).trained == turns(CHAT).trained[:1]
    assert turns(talk("How do I reset it?", "x", system="s")).trained == turns(CHAT).trained[:1]


def test_another_answer_before_it_makes_another_turn():
    other = talk("How do I reset it?", "Call us.", "And then?", "Read the mail.")
    assert turns(other).trained[0] == turns(CHAT).trained[0]
    assert turns(other).trained[1] != turns(CHAT).trained[1]


def test_a_text_is_its_own_turn():
    texts = [Conversation((Message("text", text),), "t", 1, completion_from=0) for text in "aAb"]
    first, same, other = (turns(text).trained for text in texts)
    assert first == same != other


def test_chats_written_turn_by_turn_stay_together():
    more = (*CHAT.messages, Message("user", "Done?"), Message("assistant", "Yes."))
    rows = [
        dataclasses.replace(CHAT, messages=more[:until], completion_from=until - 1)
        for until in (2, 4, 6)
    ]
    assert pairs([rows[0], talk("Else?", "no"), rows[2]]) == [[0, 2]]
    assert pairs([rows[0], rows[0]], apart=True) == []


def test_examples_that_no_row_trains_join_nothing():
    rows = [
        dataclasses.replace(talk("2 + 2?", "4", f"{n} + 1?", "x"), completion_from=3)
        for n in range(4)
    ]
    assert pairs(rows) == []


def test_a_greeting_that_most_chats_open_with_joins_those_alone_that_end_there():
    count = MIN_OPENED + 1
    chats = [talk("Hi", "Hello!", f"question {n}", "x", line=n) for n in range(count)]
    assert pairs(chats) == []
    assert pairs([*chats, talk("Hi", "a"), talk("hi", "b")]) == [[count, count + 1]]
    assert len(pairs(chats[1:], limit=1.0)) == count - 2


def test_tasks_over_a_document_in_the_system_prompt_are_on_both_sides():
    tasks = ["Summarize the document.", "List the names in it.", "Translate it into French."]
    rows = [talk(tasks[n % 3], "a", system=f"Document {n // 2}.", line=n) for n in range(90)]
    train, held, notes = split_rows([*rows, *rows], share=0.1, seed=0)
    assert len(held) == 18
    assert {row.messages[1].content for row in held} == set(tasks)
    assert set(map(prompt_key, train)).isdisjoint(map(prompt_key, held))
    assert [(note.code, note.count) for note in notes] == [("split_by_prompt", 180)]


def test_chats_that_open_with_one_of_a_few_greetings_are_parted():
    chats = [
        talk(["hi", "hello"][n % 2], "Hello!", f"Where is {n} {n + 1} {n + 2}?", "Here.", line=n)
        for n in range(60)
    ]
    train, held, notes = split_rows(chats, share=0.1, seed=0)
    assert (len(held), notes) == (6, ())
    assert {row.messages[0].content for row in train} == {"hi", "hello"}


def test_a_chat_written_turn_by_turn_is_no_opening_however_long():
    said = [[f"{n} {i} {word}" for i in range(60)] for n, word in enumerate(["one", "two", "six"])]
    rows = [
        dataclasses.replace(talk(*some[:until], line=100 * n + until), completion_from=until - 1)
        for n, some in enumerate(said)
        for until in range(2, 61, 2)
    ]
    train, held, notes = split_rows(rows, share=0.1, seed=0)
    assert {row.line // 100 for row in train}.isdisjoint(row.line // 100 for row in held)
    assert [(note.code, note.count) for note in notes] == [("split_share", 30)]
