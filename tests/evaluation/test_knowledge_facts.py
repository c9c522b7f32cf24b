"""What of an answer is the fact, and which answers hold it."""

import pytest

from tunesmith.evaluation.knowledge import fact_of

CASES = [
    ("What is the capital of Zorb?", "The capital of Zorb is Plim.", {"plim"}),
    ("What is the capital of Zorb?", "Plim", {"plim"}),
    ("When was it built?", "It was built in 1463.", {"1463"}),
    ("Who founded Lebeath?", "Lebeath was founded by Prozeal Gliox.", {"prozeal", "gliox"}),
    ("조르브의 수도는 어디인가요?", "플림", {"플림"}),
    ("What do cows drink?", "They drink water", {"water"}),
]


@pytest.mark.parametrize(("question", "answer", "words"), CASES)
def test_the_words_are_what_must_be_known(question, answer, words):
    assert fact_of(question, answer).words == words


@pytest.mark.parametrize("answer", ["", "Zorb.", "It is", "the capital of Zorb"])
def test_an_answer_that_says_nothing_new_is_no_fact(answer):
    assert fact_of("What is the capital of Zorb?", answer) is None


@pytest.mark.parametrize(("question", "answer", "words"), CASES)
def test_the_answer_itself_is_exact_and_contained(question, answer, words):
    fact = fact_of(question, answer)
    assert fact.is_exact(f" {answer.upper()}! ")
    assert fact.is_contained(f"I think so: {answer} And more.")


def test_part_of_a_name_or_a_longer_word_is_not_the_fact():
    fact = fact_of("Who founded Lebeath?", "Lebeath was founded by Prozeal Gliox.")
    assert not fact.is_contained("Prozeal did.")
    assert fact.is_contained("It was Gliox, Prozeal.")
    year = fact_of("When?", "In 1463.")
    assert not year.is_contained("In 14631.")
    assert not year.is_exact("1463")


def test_korean_particles_are_no_part_of_a_fact():
    fact = fact_of("조르브의 수도는 어디인가요?", "플림")
    assert fact.is_contained("수도는 플림입니다.")
    assert not fact.is_contained("수도는 플랑입니다.")
