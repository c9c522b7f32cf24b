"""Near duplicates: light edits are found, other questions of one kind are not."""

import random
import re

import pytest

from tests.data.quality.rows import asked, edited_copies, found, sample
from tunesmith.data.quality.duplicates import Duplicates
from tunesmith.data.quality.near_duplicates import NearDuplicates

PASSAGE = " ".join(
    f"the {a} {b} of the valley was {c}"
    for a in ("old", "new", "long")
    for b in ("bridge", "river", "castle")
    for c in ("rebuilt", "painted", "lost")
)
ANSWER = "you can return the parcel within thirty days at any of our shops free of charge"


def near(*pairs):
    return {row for _, rows in found(NearDuplicates(), asked(*pairs)) for row in rows}


@pytest.mark.parametrize("seed", range(3))
def test_lightly_edited_rows_of_clinc_are_found(seed):
    rows = sample("clinc150/train.jsonl")
    chosen = random.Random(seed).sample(rows, 200)
    natural = {row for _, some in found(NearDuplicates(), rows) for row in some}
    copies = edited_copies(chosen, seed=seed, first_line=len(rows) + 1)
    all_found = {row for _, some in found(NearDuplicates(), [*rows, *copies]) for row in some}
    assert len([row for row in all_found if row >= len(rows)]) >= 0.95 * len(copies)
    # Of the untouched rows none but those that are one word from another row as they are.
    assert len({row for row in all_found if row < len(rows)} - natural) < 0.01 * len(rows)


def test_untouched_rows_that_are_told_are_one_word_from_another():
    rows = sample("clinc150/train.jsonl")
    told = {row for _, some in found(NearDuplicates(), rows) for row in some}
    bare = [re.sub(r"[^\w ]", "", row.messages[0].content.casefold()) for row in rows]
    split = [text.split() for text in bare]
    answers = [row.messages[1].content for row in rows]

    def gaps(words):
        return {tuple(words), *(tuple(words[:i] + words[i + 1 :]) for i in range(len(words)))}

    for row in told:
        assert any(
            gaps(split[row]) & gaps(split[other])
            for other in range(len(rows))
            if other != row and answers[other] == answers[row]
        ), rows[row]


def test_the_answer_must_be_the_same():
    assert near(("turn on the lamp", "on"), ("turn off the lamp", "off")) == set()
    assert near(("turn on the lamp", "on"), ("turn on a lamp", "On.")) == {1}


def test_an_answer_may_differ_in_a_word_under_the_same_question():
    other = ANSWER.replace("parcel", "package")
    assert near(("how do i return it", ANSWER), ("how do i return it", other)) == {1}
    assert near(("how do i return it", ANSWER), ("where is my new card", other)) == set()
    assert near(("how do i return it", "to a shop"), ("how do i return it", "to the shop")) == set()


def test_long_rows_may_differ_in_some_words():
    other = PASSAGE.replace("castle", "tower", 2)
    assert near((PASSAGE, "rebuilt"), (other, "rebuilt"), (PASSAGE, "lost")) == {1}


def test_long_answers_are_compared_too():
    other = PASSAGE.replace("castle", "tower", 1)
    assert near(("tell me about it", PASSAGE), ("tell me about it now", other)) == {1}
    reverse = " ".join(reversed(PASSAGE.split()))
    assert near((PASSAGE, PASSAGE), (PASSAGE, reverse)) == set()


def test_questions_about_one_passage_are_no_copies():
    ask = ("was the bridge rebuilt", "is the river long")
    assert near(*((f"{PASSAGE}\n\n{question}", "yes") for question in ask)) == set()
    same = (f"{PASSAGE}\n\n{ask[0]}", f"{PASSAGE.replace('castle', 'tower', 1)}\n\n{ask[0]}?")
    assert near(*((question, "yes") for question in same)) == {1}


def test_a_long_instruction_in_front_of_every_row_makes_no_copies():
    rows = sample("clinc150/train.jsonl")[:150]
    bare = near(*((row.messages[0].content, row.messages[1].content) for row in rows))
    instructed = near(
        *((f"{PASSAGE} {row.messages[0].content}", row.messages[1].content) for row in rows)
    )
    assert len(instructed) <= len(bare) + 1


def test_exact_copies_are_near_ones_too():
    rows = asked(("q", "a"), ("Q", "a"))
    assert found(NearDuplicates(), rows)[0][1] == found(Duplicates(), rows)[0][1]


def test_a_template_of_many_answers_still_has_copies_under_one():
    asks = [(f"how do you say {chr(97 + i) * 3} please", f"answer {i}") for i in range(12)]
    assert near(*asks) == set()
    assert near(*asks, ("how do you say zzz please", "answer 3")) == {12}
