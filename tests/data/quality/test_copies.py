""""""

import dataclasses
import random
import re

import numpy as np
import pytest

from tests.data.quality.rows import asked, edited_copies, found, sample
from tests.data.tiny import talk
from tunesmith.data.quality.copies import (
    CHOICES,
    TEXTS,
    Contradictions,
    Duplicates,
    Leakage,
    NearDuplicates,
    asked_of_a_text,
)
from tunesmith.data.quality.text import see
from tunesmith.data.rows import Conversation, Message, ToolCall

ROWS = asked(
    ("Is it on?", "yes"), ("is it  on?", "no"), ("is it off?", "no"), ("is it off?", "No.")
)


def watched(rows):
    observer = Contradictions()
    for row in rows:
        observer.observe(see(row))
    return observer


def test_every_row_of_a_question_with_two_answers_is_told():
    assert found(Contradictions(), ROWS) == [("contradictions", [0, 1])]


def test_another_system_prompt_may_have_another_answer():
    rows = [talk("who are you", "Ann", system="You are Ann."), talk("who are you", "Bob", line=2)]
    assert found(Contradictions(), rows) == []


def test_labels_contradict_and_texts_may_vary():
    labels = asked(*((f"q{i % 30}", f"label {i % 4}") for i in range(60)))
    texts = asked(*((f"q{i % 30}", f"text {i}") for i in range(60)))
    assert next(watched(labels).findings()).message.endswith(CHOICES)
    assert next(watched(texts).findings()).message.endswith(TEXTS)


def test_the_answer_of_a_majority_stays_when_contradictions_leave():
    rows = asked(*[("q", "yes")] * 3, ("q", "no"), ("r", "yes"), ("r", "no"), ("s", "yes"))
    assert watched(rows).outvoted().tolist() == [3, 4, 5]


def test_no_rows_contradict_nothing():
    assert found(Contradictions(), []) == []
    assert watched([]).outvoted().dtype == np.int64


def test_later_copies_are_found_case_and_white_space_aside():
    rows = asked(("Hi  there", "Yes"), ("bye", "no"), ("hi there", "yes\n"), ("HI THERE", "YES"))
    assert found(Duplicates(), rows) == [("duplicates", [2, 3])]


def test_another_answer_prompt_or_weight_is_another_row():
    row = talk("q", "a")
    light = dataclasses.replace(row, messages=(row.messages[0], Message("assistant", "a", 0.5)))
    others = [
        talk("q", "b"),
        talk("q!", "a"),
        talk("q", "a", system="s"),
        light,
        talk("q", "a", "q"),
    ]
    assert found(Duplicates(), [row, *others]) == []


def test_no_rows_have_no_duplicates():
    assert found(Duplicates(), []) == []


def call(city, **more):
    asks = Message("user", f"book a table in {more.pop('asked', 'town')} for me and my friends")
    calls = (ToolCall("book", {"city": city}),)
    answer = Message("assistant", "", tool_calls=calls, **more)
    return Conversation((asks, answer), "f", 1)


def test_calls_of_tools_are_what_is_answered():
    rows = [call("Rome"), call("Paris"), call("Rome", thinking="t"), call("Rome")]
    rows.append(dataclasses.replace(rows[0], tools=({"type": "function"},)))
    assert found(Duplicates(), rows) == [("duplicates", [3])]
    assert found(Contradictions(), rows[:2])[0][1] == [0, 1]
    assert found(Contradictions(), [rows[0], rows[3]]) == []


def test_questions_of_one_other_word_with_other_calls_are_no_near_copies():
    assert found(NearDuplicates(), [call("Rome", asked="Rome"), call("Paris", asked="Paris")]) == []
    again = [call("Rome", asked="town"), call("Rome", asked="town,")]
    assert found(NearDuplicates(), again) == [("near_duplicates", [1])]


def leaks(train, held):
    observer = Leakage()
    for row in held:
        observer.hold(see(row))
    for row in train:
        observer.observe(see(row))
    return {
        "near" if "nearly" in finding.message else "exact": finding.rows.tolist()
        for finding in observer.findings()
    }


def test_all_rows_that_a_training_file_takes_from_a_probe_are_found():
    train, probe = sample("arc_easy/train.jsonl"), sample("arc_easy/probe.jsonl")
    assert leaks(train, probe) == {"exact": list(range(100))}
    assert leaks(train, probe[100:]) == {}


def test_the_repeats_of_banking77_are_found():
    train, test = sample("banking77/train.jsonl"), sample("banking77/test.jsonl")
    folded = {" ".join(row.messages[0].content.casefold().split()) for row in test}
    repeats = [
        i
        for i, row in enumerate(train)
        if " ".join(row.messages[0].content.casefold().split()) in folded
    ]
    assert len(repeats) == 7  # one of them but for a space
    assert leaks(train, test)["exact"] == repeats


def test_near_copies_are_told_apart_from_equal_ones():
    train = asked(("What is my limit today", "a"), ("what is MY limit", "b"), ("who is there", "c"))
    held = asked(("what is my limit", "z"))
    assert leaks(train, held) == {"exact": [1], "near": [0]}


def test_the_answer_and_the_system_prompt_do_not_matter():
    assert leaks(asked(("a b c d", "x")), asked(("a b c d", "y"))) == {"exact": [0]}


def test_copies_within_one_side_are_no_leaks():
    same = [("set an alarm now", "x")] * 3
    assert leaks(asked(*same), asked(("cancel my card please", "y"), ("cancel my card", "y"))) == {}


def test_nothing_is_held_nothing_leaks():
    assert leaks(asked(("a", "b")), []) == {}


def test_every_copy_of_a_leaked_question_is_found():
    held = asked(("How do I reset my password for the portal?", "x"))
    marks = ["How do I reset my password for the portal" + mark for mark in "!.;"]
    other = ["How do I change my password for the portal"] * 3
    far = [f"Which {name} grows well in the shade" for name in ("plum", "fig")]
    train = asked(*((text, f"{i}") for i, text in enumerate([*marks, *other, *far])))
    assert leaks(train, held) == {"near": list(range(6))}


def test_every_long_text_near_a_held_one_is_found_however_many_there_are():
    rng = random.Random(0)
    words = [f"word{i:04}" for i in range(2000)]
    base = rng.sample(words, 90)
    near = [" ".join([*base[: 9 * i], "changed", *base[9 * i + 1 :]]) for i in range(10)]
    far = [" ".join(rng.sample(words, 90)) for _ in range(300)]
    train = asked(*((text, "a") for text in [*near, *near, *far]))
    assert leaks(train, asked((" ".join(base), "x"))) == {"near": list(range(20))}


def test_what_is_near_a_near_copy_is_not_near():
    held = asked(("can you reset my old password", "x"))
    train = asked(("can you reset my new password", "a"), ("will you reset my new password", "b"))
    assert leaks(train, held) == {"near": [0]}


def test_a_chat_leaks_by_any_turn_that_both_sides_train():
    whole = talk("How do I reset it?", "Click here.", "And then?", "Read the mail.")
    first = talk("how do I reset it?", "Call us.")
    last = dataclasses.replace(whole, completion_from=3)
    for one, other in ((whole, first), (whole, last)):
        assert leaks([one, talk("Else?", "no")], [other]) == {"exact": [0]}
        assert leaks([talk("Else?", "no"), other], [one]) == {"exact": [1]}
    assert leaks([last], [first]) == {}  # what is given is not trained


def test_a_task_under_many_documents_leaks_under_the_same_document_alone():
    tasks = ["Summarize the document.", "List the names in it.", "Translate it into French."]
    rows = [
        talk(tasks[n % 3], f"a{n}", system=f"Document: {n} is the number of it.", line=n)
        for n in range(60)
    ]
    assert leaks(rows[:48], rows[48:]) == {}
    assert leaks([*rows[:48], rows[50]], rows[48:]) == {"exact": [48]}


def test_how_most_chats_open_is_no_leak():
    chats = [talk("Hi", "Hello!", f"tell me of topic{n} in short", "x") for n in range(10)]
    held = [talk("Hi", "Hello!", "where is the key of my house", "y")]
    assert leaks(chats, held) == {}
    assert leaks([*chats, *held], held) == {"exact": [10]}
    copies = [talk("Hi", "Hello!", "who comes", "x")] * 10
    assert leaks(copies, held) == {"exact": list(range(10))}


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


def test_many_questions_of_one_passage_are_told_apart_in_scripts_without_spaces():
    passage = "东京是日本的首都。" * 12
    one, other = (f"{passage}\n{asked}" for asked in ("东京是首都吗？", "大阪是首都吗？"))
    assert asked_of_a_text(one) != asked_of_a_text(other)
    assert asked_of_a_text(passage) == 0
