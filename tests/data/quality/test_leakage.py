"""Leakage: what real files repeat is found, and their other rows are not called equal."""

import dataclasses
import random

from tests.data.quality.rows import asked, sample
from tests.data.tiny import talk
from tunesmith.data.quality.leakage import Leakage
from tunesmith.data.quality.text import see


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


def test_how_most_chats_open_is_no_leak():
    chats = [talk("Hi", "Hello!", f"tell me of topic{n} in short", "x") for n in range(10)]
    held = [talk("Hi", "Hello!", "where is the key of my house", "y")]
    assert leaks(chats, held) == {}
    assert leaks([*chats, *held], held) == {"exact": [10]}
    copies = [talk("Hi", "Hello!", "who comes", "x")] * 10
    assert leaks(copies, held) == {"exact": list(range(10))}
