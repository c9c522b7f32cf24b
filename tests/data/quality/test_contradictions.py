import numpy as np

from tests.data.quality.rows import asked, found
from tests.data.tiny import talk
from tunesmith.data.quality.contradictions import CHOICES, TEXTS, Contradictions
from tunesmith.data.quality.text import see

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
