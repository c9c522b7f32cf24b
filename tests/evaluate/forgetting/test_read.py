"""Probe files: questions, texts, and every fault with its line."""

import json

import pytest

from tunesmith.data.faults import FaultyData
from tunesmith.evaluate.forgetting.multiple_choice import MultipleChoice, Question
from tunesmith.evaluate.forgetting.plain_text import PlainText
from tunesmith.evaluate.forgetting.read import LEAST_CHARACTERS, read_probe

GOOD = {"query": "q", "choices": ["a", "b"], "gold": 1}
LONG = "word " * LEAST_CHARACTERS


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def faults(path):
    with pytest.raises(FaultyData) as error:
        read_probe(path)
    return [(fault.line, fault.code) for fault in error.value.faults]


def test_rows_of_questions_are_a_probe_named_like_the_file(tmp_path):
    path = write(tmp_path / "mine.jsonl", GOOD, {**GOOD, "query": "", "gold": 0, "more": 1})
    assert read_probe(path) == MultipleChoice(
        "mine", (Question("q", ("a", "b"), 1), Question("", ("a", "b"), 0))
    )
    assert read_probe(path, name="other").name == "other"


def test_rows_that_share_a_line_are_all_read(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [json.dumps({**GOOD, "query": query}) for query in "abc"]
    path.write_text(f"[{rows[0]},\n{rows[1]}, {rows[2]}]")
    wanted = tuple(Question(query, ("a", "b"), 1) for query in "abc")
    assert read_probe(path) == MultipleChoice("mine", wanted)
    bad = json.dumps({**GOOD, "gold": 9})
    path.write_text(f"[{rows[0]},\n{bad}, {rows[1]}, {bad}]")
    assert faults(path) == [(2, "wrong_gold"), (2, "wrong_gold")]


def test_rows_of_texts_are_texts_and_a_text_file_is_one(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"text": LONG}, {"text": "short"})
    assert read_probe(path) == PlainText("mine", (LONG, "short"))
    text = tmp_path / "book.txt"
    text.write_bytes(b"\xef\xbb\xbf" + (LONG + "\n é").encode())
    assert read_probe(text) == PlainText("book", (LONG + "\n é",))


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"query": "q", "choices": ["a", "b"]}, "missing_column"),
        ({"context": "q", "continuation": "a"}, "missing_column"),
        ({**GOOD, "query": 3}, "wrong_type"),
        ({**GOOD, "choices": "ab"}, "wrong_type"),
        ({**GOOD, "choices": ["a", 2]}, "wrong_type"),
        ({**GOOD, "choices": ["a"], "gold": 0}, "empty"),
        ({**GOOD, "choices": ["a", " "]}, "empty"),
        ({**GOOD, "gold": 2}, "wrong_gold"),
        ({**GOOD, "gold": -1}, "wrong_gold"),
        ({**GOOD, "gold": True}, "wrong_gold"),
        ({**GOOD, "gold": "b"}, "wrong_gold"),
    ],
)
def test_a_faulty_question_is_told_with_its_line(tmp_path, row, code):
    assert faults(write(tmp_path / "p.jsonl", GOOD, row, GOOD)) == [(2, code)]


def test_all_faults_are_told_at_once(tmp_path):
    path = write(tmp_path / "p.jsonl", {**GOOD, "gold": 5}, GOOD, {"query": "q"})
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    assert faults(path) == [(1, "wrong_gold"), (3, "missing_column"), (4, "broken_json")]


def test_texts_and_questions_do_not_mix(tmp_path):
    path = write(tmp_path / "p.jsonl", {"text": LONG}, GOOD, {"text": " "}, {"text": 3})
    assert faults(path) == [(2, "wrong_type"), (3, "empty"), (4, "wrong_type")]


def test_too_little_text_has_no_interval(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("x" * (LEAST_CHARACTERS - 1))
    assert faults(path) == [(None, "too_little")]
    path.write_text("x" * LEAST_CHARACTERS)
    assert read_probe(path).name == "p"
    path.write_text("")
    assert faults(path) == [(None, "empty_file")]
    path.write_bytes(b"\xff\xfe")  # UTF-16's mark alone
    assert faults(path) == [(1, "empty")]


def test_what_is_no_probe_file_is_told(tmp_path):
    assert faults(tmp_path / "none.jsonl") == [(None, "missing_file")]
    (tmp_path / "p.csv").write_text("a")
    assert faults(tmp_path / "p.csv") == [(None, "unknown_file_kind")]
    (tmp_path / "p.jsonl").write_text("")
    assert faults(tmp_path / "p.jsonl") == [(None, "empty_file")]
