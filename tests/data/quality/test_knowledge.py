"""Knowledge: sets of facts are told, sets that teach behaviour are not."""

import json

import pytest

from tests.data.quality.rows import asked, sample
from tests.source import ROOT
from tunesmith.data.quality.knowledge import FEWEST_ROWS, knowledge, measure
from tunesmith.data.quality.sample import Sample
from tunesmith.data.quality.text import see


def sampled(rows):
    some = Sample()
    for row in rows:
        some.observe(see(row))
    return some


def is_told(rows):
    return [finding.code for finding in knowledge(sampled(rows))] == ["knowledge"]


def repository_rows(path):
    rows = [json.loads(line) for line in (ROOT / path).read_text(encoding="utf-8").splitlines()]
    return asked(
        *(
            (row["messages"][-2]["content"], row["messages"][-1]["content"])
            if "messages" in row
            else (row["prompt"], row["completion"])
            for row in rows
        )
    )


FACTS = [
    (f"When was the {name} of {place} founded?", f"It was founded in {year} by {founder} {year}.")
    for year, (name, place, founder) in enumerate(
        (
            (n, p, f"{a}{b}")
            for n in ("port", "school")
            for p in ("Ostia", "Evora", "Delft")
            for a in ("Mar", "Al", "Bren")
            for b in ("cus", "dan")
        ),
        start=1501,
    )
]


def test_facts_are_told():
    assert is_told(sample("arc_easy/probe.jsonl"))
    assert is_told(asked(*FACTS))


@pytest.mark.parametrize("name", ["clinc150/train.jsonl", "banking77/train.jsonl"])
def test_labels_are_not(name):
    assert not is_told(sample(name))


@pytest.mark.parametrize(
    "path", ["examples/polite_ko/train.jsonl", "src/tunesmith/workflows/demo_data/train.jsonl"]
)
def test_tone_and_format_are_not(path):
    assert not is_told(repository_rows(path))


def test_facts_that_the_question_gives_are_read_and_not_known():
    given = [(f"{answer} {question}", answer) for question, answer in FACTS]
    assert not is_told(asked(*given))


def test_of_a_few_rows_nothing_is_said():
    assert not is_told(asked(*FACTS[: FEWEST_ROWS - 1]))


def test_names_at_the_start_of_a_sentence_and_repeated_ones_do_not_count():
    rows = asked(("hi", "Sure, I can. Maybe Tuesday in Rome."), ("hm", "Rome is far. Maybe not."))
    facts = measure(sampled(rows).rows())
    assert facts.named_rows == 0.5  # Tuesday; Rome is in both, Sure and Maybe begin sentences
