"""`tunesmith data curve`: what it prints, as JSON and for people, and what it refuses."""

import pytest

from tests.runs.tiny import base_folder, rows_file


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base_folder(tmp_path / "base")
    rows_file(tmp_path / "rows.jsonl")
    given = ["data", "curve", "--data", "rows.jsonl", "--model", "base", "--dtype", "float32"]
    given += ["--train.steps", "4", "--train.rows_per_step", "3", "--method.rank", "2"]
    given += ["--evaluate.checks", "[{kind: exact}]", "--evaluate.max_new_tokens", "8"]
    given += [
        f"--evaluate.{measure}=none" for measure in ("forgetting", "consistency", "knowledge")
    ]
    return [*given, "--data.eval", "0.3", "--evaluate.timed_rows", "0"]


@pytest.mark.rendered
def test_the_document_has_a_point_for_each_share_and_the_verdict(tunesmith, words):
    ended = tunesmith(*words, "--shares", "0.5,1", "--json")
    assert ended.status == 0, ended.err
    rows = [point["rows"] for point in ended.document["points"]]
    assert rows == [8, 17]
    assert ended.document["out"] == "runs/curve"
    shown = tunesmith("data", "curve", "--resume", "runs/curve")
    assert ended.document["verdict"]["text"] in " ".join(shown.out.split())
    assert "training rows" in shown.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--shares", "1"), "two or more different shares"),
        (("--shares", "0.5,0.5"), "two or more different shares"),
        (("--shares", "half,1"), "these are not numbers"),
        (("--shares", "0,1"), "two or more different shares"),
        (("--resume", "runs/curve"), "takes nothing else"),
        (("--resume", "runs/curve", "--shares", "0.5,1"), "takes nothing else"),
    ],
)
def test_what_cannot_be_compared_is_refused(more, message, tunesmith, words):
    ended = tunesmith(*words, *more)
    assert ended.status == 2
    assert message in ended.err
