import json

import pytest


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = ({"prompt": f"question {i} x", "completion": "ab"[i % 2]} for i in range(20))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_file_becomes_two_and_the_next_command_is_told(rows, tmp_path, tunesmith):
    out = tmp_path / "out"
    ended = tunesmith("data", "split", rows, "--out", out, "--stratify", "answer", "--json")
    assert ended.status == 0
    document = ended.document
    assert document["train"] == {"file": str(out / "train.jsonl"), "rows": 18}
    assert document["eval"] == {"file": str(out / "eval.jsonl"), "rows": 2}
    assert document["strata"] == {"a": {"train": 9, "eval": 1}, "b": {"train": 9, "eval": 1}}
    assert document["next"] == [
        f"tunesmith train --data {out / 'train.jsonl'} --data.eval {out / 'eval.jsonl'}"
    ]


def test_a_person_sees_counts_and_classes(rows, tmp_path, tunesmith):
    words = ("--out", tmp_path / "o", "--stratify", "completion", "--share", "0.2")
    page = tunesmith("data", "split", rows, *words).out
    assert "16 rows to train on, 4 held out" in page
    assert "eval.jsonl" in page


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--share", "1"], 2, "--share"),
        (["--data.map", "x"], 2, "OURS=THEIRS"),
        (["--by", "topic"], 1, '"topic" is missing'),
        (["--data.format", "nonsense"], 1, "nonsense"),
    ],
)
def test_wrong_words_are_told(words, status, told, rows, tmp_path, tunesmith):
    ended = tunesmith("data", "split", rows, "--out", tmp_path / "o", *words)
    assert ended.status == status
    assert told in ended.err
    assert not (tmp_path / "o").exists()


def test_a_missing_file_is_a_refusal(tmp_path, tunesmith):
    ended = tunesmith("data", "split", tmp_path / "no.jsonl", "--out", tmp_path / "o")
    assert ended.status == 1
    assert "does not exist" in ended.err
