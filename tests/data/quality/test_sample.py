import random

from tests.data.quality.rows import asked
from tunesmith.data.quality import distribution as module
from tunesmith.data.quality.distribution import Sample
from tunesmith.data.quality.text import see


def sampled(rows):
    some = Sample()
    for row in rows:
        some.observe(see(row))
    return some


def test_few_rows_are_all_there_in_order():
    some = sampled(asked(("b", "x"), ("a", "y")))
    assert [(row.row, row.question) for row in some.rows()] == [(0, "b"), (1, "a")]
    assert some.scope() == ""


def test_the_sample_of_many_does_not_depend_on_their_order(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 20)
    rows = asked(*((f"question {i}", "a") for i in range(100)))
    shuffled = random.Random(0).sample(rows, len(rows))
    first, other = sampled(rows), sampled(shuffled)
    assert len(first.rows()) == 20
    assert {r.question for r in first.rows()} == {r.question for r in other.rows()}
    assert all(rows[r.row].messages[0].content == r.question for r in first.rows())
    assert "20 rows looked at" in first.scope()


def test_long_texts_are_cut():
    assert len(sampled(asked(("q" * 9999, "a"))).rows()[0].question) == module.MAX_CHARACTERS
