"""Knowledge: sets of facts are told, sets that teach behaviour are not."""

import json
import time

import pytest

from tests.data.quality.rows import asked, found, sample
from tests.data.tiny import talk
from tests.source import ROOT
from tunesmith.data.quality.distribution import Sample
from tunesmith.data.quality.text import see
from tunesmith.data.quality.unsuitable import (
    MIN_ROWS,
    PersonalData,
    find_personal_data,
    is_resident_number,
    knowledge,
    luhn,
    masked,
    measure,
)
from tunesmith.data.rows import Conversation, Message, ToolCall


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
    "path", ["examples/polite_ko/train.jsonl", "src/tunesmith/setup/demo_data/train.jsonl"]
)
def test_tone_and_format_are_not(path):
    assert not is_told(repository_rows(path))


def test_facts_that_the_question_gives_are_read_and_not_known():
    given = [(f"{answer} {question}", answer) for question, answer in FACTS]
    assert not is_told(asked(*given))


def test_of_a_few_rows_nothing_is_said():
    assert not is_told(asked(*FACTS[: MIN_ROWS - 1]))


def test_names_at_the_start_of_a_sentence_and_repeated_ones_do_not_count():
    rows = asked(("hi", "Sure, I can. Maybe Tuesday in Rome."), ("hm", "Rome is far. Maybe not."))
    facts = measure(sampled(rows).rows())
    assert facts.named_rows == 0.5  # Tuesday; Rome is in both, Sure and Maybe begin sentences


KEY = "sk-" + "proj-" + "Ab3" * 12
FOUND = [
    ("write to kim.minsu@naver.com please", "e-mail addresses"),
    ("call 010-1234-5678 tonight", "phone numbers"),
    ("전화는 01087654321로 주세요", "phone numbers"),
    ("서울 02-312-3456", "phone numbers"),
    ("메일은kim@naver.com으로", "e-mail addresses"),
    ("reach me at +82 10-1234-5678", "phone numbers"),
    ("London: +44 20 7031 3000", "phone numbers"),
    ("call (212) 736-5000 now", "phone numbers"),
    ("주민번호는 900101-1234568입니다", "Korean resident numbers"),
    ("born 210101-3123456", "Korean resident numbers"),  # without a check digit since 2020
    ("card 4539 1488 0343 6467", "card numbers"),
    ("amex 3782-822463-10005", "card numbers"),
    (f"use {KEY} here", "keys or tokens"),
    ("AKIA" + "IOSFODNN7EXAMPLE", "keys or tokens"),
    ("token=" + "ghp_" + "a1B2" * 9, "keys or tokens"),
    ("-----BEGIN RSA " + "PRIVATE KEY-----", "keys or tokens"),
]
NOT_FOUND = [
    "write to someone@example.com or me@test",
    "version 1.2.3.4 of 2024-01-02 at 10:20:30",
    "order 1234567890123456 has 100-200-300 parts",
    "the card 4539 1488 0343 6468 fails its check",
    f"the root of 7 is {7**0.5}",
    "900101-1234567 has a wrong check digit",
    "901332-1234568 is no day",
    "call 555-0100 or 010-12-34",
    "ask-me-anything-about-the-task-skip-this",
    "1 + 1 = 2, 3.14159265358979323846",
    "ISBN 978-3-16-148410-0",
    "scores: 100 200 300 400 500 600",
]


@pytest.mark.parametrize(("text", "kind"), FOUND)
def test_each_kind_is_found(text, kind):
    assert [name for name, _ in find_personal_data(text)] == [kind]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_look_alikes_are_not(text):
    assert list(find_personal_data(text)) == []


@pytest.mark.parametrize(("text", "kind"), FOUND)
def test_what_is_found_is_never_told(text, kind):
    observer = PersonalData()
    observer.observe(see(asked((text, "ok"))[0]))
    (finding,) = observer.findings()
    ((_, secret),) = find_personal_data(text)
    assert kind in finding.message
    assert secret not in finding.message
    assert secret[:4] not in finding.message


def test_a_row_counts_once_for_a_kind_wherever_it_stands():
    rows = asked(
        ("a@naver.com", "b@naver.com"), ("fine", "fine"), ("x", "c@naver.com 010-1234-5678")
    )
    assert found(PersonalData(), rows) == [("personal_data", [0, 2]), ("personal_data", [2])]


def test_check_digits():
    assert luhn("79927398713")
    assert not luhn("79927398714")
    assert is_resident_number("900101-1234568")
    wrong = [f"900101-123456{digit}" for digit in range(10) if digit != 8]
    assert not any(map(is_resident_number, wrong))


def test_masked_shows_two_characters():
    assert masked(KEY) == f"sk… ({len(KEY)} characters)"


def test_ordinary_rows_hold_none():
    for name in ("clinc150/train.jsonl", "banking77/train.jsonl", "arc_easy/probe.jsonl"):
        assert found(PersonalData(), sample(name)) == []


@pytest.mark.parametrize("text", ["1" * 100_000 + "@", "a@" + "a." * 49_000 + "1", "a" * 99_000])
def test_long_runs_take_no_time(text):
    start = time.process_time()
    assert [name for name, _ in find_personal_data(f"{text} @")] == []
    assert time.process_time() - start < 1


def test_what_is_thought_and_called_is_looked_at_too():
    call = ToolCall("send", {"to": [{"mail": "ann.lee@mailbox.org"}]})
    rows = [
        talk("q", "a"),
        Conversation((Message("user", "q"), Message("assistant", "", tool_calls=(call,))), "f", 2),
        Conversation(
            (Message("user", "q"), Message("assistant", "a", thinking="x@mail.de")), "", 3
        ),
    ]
    assert found(PersonalData(), rows) == [("personal_data", [1, 2])]
