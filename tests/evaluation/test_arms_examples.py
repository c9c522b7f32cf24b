"""Examples for a prompt: spread over few answers, drawn by a seed, and never what is asked."""

from collections import Counter

import pytest

from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluation.arms import choose_examples, with_examples


def row(question, answer, *before):
    return Conversation((*before, Message("user", question), Message("assistant", answer)), "f", 1)


LABELS = [row(f"q{i}", "ab"[i % 20 == 0]) for i in range(200)]  # 1 in 20 says b
TEXTS = [row(f"q{i}", f"answer {i}") for i in range(200)]


def said(rows):
    return [each.messages[-1].content for each in rows]


@pytest.mark.parametrize("seed", range(5))
def test_few_answers_are_all_shown_before_one_comes_again(seed):
    assert Counter(said(choose_examples(LABELS, 6, seed=seed))) == {"a": 3, "b": 3}
    assert sorted(said(choose_examples(LABELS, 2, seed=seed))) == ["a", "b"]


def test_answers_that_differ_by_white_space_or_case_are_one_answer():
    rows = [row(f"q{i}", text) for i, text in enumerate(["Yes", "yes ", " YES", "no"])]
    assert "no" in said(choose_examples(rows, 2, seed=0))


def test_a_seed_draws_the_same_rows_and_another_one_others():
    first = choose_examples(TEXTS, 5, seed=1)
    assert first == choose_examples(TEXTS, 5, seed=1) != choose_examples(TEXTS, 5, seed=2)
    assert len(set(said(first))) == 5


def test_texts_are_drawn_from_all_over_the_file():
    drawn = Counter(
        text for seed in range(300) for text in said(choose_examples(TEXTS, 5, seed=seed))
    )
    halves = sum(count for text, count in drawn.items() if int(text.split()[1]) < 100)
    assert abs(halves / 1500 - 0.5) < 0.06
    assert len(drawn) > 190


def test_what_is_asked_is_no_example_however_it_is_written():
    rows = [row("Is it  so?", "yes"), row("other", "no")]
    for seed in range(4):
        assert said(choose_examples(rows, 2, seed=seed, asked=["is it so?"])) == ["no"]
    for asked in ("Is it so", "is it, so!", "Is it - so?"):
        assert said(choose_examples(rows, 2, seed=0, asked=[asked])) == ["no"]


def test_what_is_asked_in_an_earlier_turn_is_no_example_either():
    turns = (Message("user", "2 + 2?"), Message("assistant", "4"))
    rows = [row("And 3 + 3?", "6", *turns), row("2 + 3?", "5")]
    assert said(choose_examples(rows, 2, seed=0, asked=["2 + 2?"])) == ["5"]
    later = Conversation((*rows[1].messages, Message("user", "2 + 2?")), "f", 1)  # has no answer
    assert len(choose_examples([later], 1, seed=0, asked=["2 + 2?"])) == 1


def test_rows_that_train_nothing_are_no_examples():
    rows = [Conversation((Message("user", "q"), Message("assistant", "a", weight=0)), "f", 1)]
    assert choose_examples(rows, 3, seed=0) == ()


def test_examples_are_earlier_turns_behind_the_system_prompt_of_the_question():
    system, asked = Message("system", "short"), Message("user", "now?")
    examples = [row("before?", "so"), row("same?", "yes", system)]
    found = with_examples((system, asked), examples)
    assert [(m.role, m.content) for m in found] == [
        ("system", "short"),
        ("user", "before?"),
        ("assistant", "so"),
        ("user", "same?"),
        ("assistant", "yes"),
        ("user", "now?"),
    ]
    assert with_examples((asked,), examples[:1])[-1] == asked


def test_an_examples_own_system_prompt_is_not_lost():
    examples = [row("q", "a", Message("system", "answer in German"))]
    first, second, last = with_examples((Message("user", "now?"),), examples)
    assert (first.role, first.content) == ("user", "answer in German\n\nq")
    assert (second.content, last.content) == ("a", "now?")


def test_an_example_ends_with_its_last_trained_answer():
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    found = with_examples((Message("user", "now?"),), [Conversation(turns, "f", 1)])
    assert [m.content for m in found] == ["a", "b", "now?"]
