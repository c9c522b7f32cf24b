"""Turns of chats: the same up to an answer is the same, whatever of it is trained."""

import dataclasses

from tests.data.tiny import talk
from tunesmith.data.quality.turns import FEWEST_OPENED, SharedTurns, turns
from tunesmith.data.rows import Conversation, Message

CHAT = talk("How do I reset it?", "Click here.", "And then?", "Read the mail.")


def pairs(rows, *, most=0.5, apart=False):
    shared = SharedTurns()
    for number, row in enumerate(rows):
        shared.observe(row, under=number)
    return shared.pairs(most=most, apart=apart).tolist()


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
    count = FEWEST_OPENED + 1
    chats = [talk("Hi", "Hello!", f"question {n}", "x", line=n) for n in range(count)]
    assert pairs(chats) == []
    assert pairs([*chats, talk("Hi", "a"), talk("hi", "b")]) == [[count, count + 1]]
    assert len(pairs(chats, most=1.0)) == count - 1
