import json

import pytest

from tunesmith.config import load_run_config


@pytest.fixture
def rows(tmp_path):
    def write(*given, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        return path

    return write


LABELS = [{"prompt": f"q {i}", "completion": ("refund", "cancel")[i % 2]} for i in range(12)]


def test_a_config_is_written_and_can_be_loaded(rows, tmp_path, tunesmith):
    data, out = rows(*LABELS), tmp_path / "c.yaml"
    ended = tunesmith("init", data, "--out", out)
    assert ended.status == 0
    assert f"tunesmith train {out}" in ended.out
    config = load_run_config(out, {})
    assert config.data.train == str(data)
    assert [check.kind for check in config.evaluate.checks] == ["label"]


def test_json_tells_what_was_found(rows, tmp_path, tunesmith):
    document = tunesmith("init", rows(*LABELS), "--out", tmp_path / "c.yaml", "--json").document
    assert document["format"] == "prompt-completion"
    assert (document["rows"], document["faults"]) == (12, 0)
    assert document["checks"][0]["kind"] == "label"


def test_a_file_that_is_there_is_never_overwritten(rows, tmp_path, tunesmith):
    out = tmp_path / "c.yaml"
    out.write_text("mine")
    ended = tunesmith("init", rows(*LABELS), "--out", out)
    assert ended.status == 1
    assert "--out" in ended.err
    assert out.read_text() == "mine"


def test_columns_can_be_mapped_and_the_config_keeps_the_mapping(rows, tmp_path, tunesmith):
    data = rows(*({"q": row["prompt"], "a": row["completion"]} for row in LABELS))
    out = tmp_path / "c.yaml"
    words = ("--data.map", "prompt=q", "--data.map", "completion=a")
    assert tunesmith("init", data, "--out", out, *words).status == 0
    assert load_run_config(out, {}).data.map == {"prompt": "q", "completion": "a"}


def test_faults_are_counted_the_first_are_told_and_the_config_is_written(rows, tmp_path, tunesmith):
    data, out = rows(*LABELS, *[{"prompt": "x"}] * 7), tmp_path / "c.yaml"
    ended = tunesmith("init", data, "--out", out, "--json")
    assert (ended.status, ended.document["faults"]) == (0, 7)
    assert load_run_config(out, {}).data.train == str(data)
    first, *told = ended.err.splitlines()
    assert first.startswith("note: 7 faults, for which a run refuses this data")
    for number, line in enumerate(told[:5], start=len(LABELS) + 1):
        assert line.startswith(f"  {data}:{number}: ")
    assert told[5:] == ["  ... and 2 more", f"All are listed by: tunesmith data check {data}"]


def test_one_fault_is_one_fault(rows, tmp_path, tunesmith):
    ended = tunesmith("init", rows(*LABELS, {"prompt": "x"}), "--out", tmp_path / "c.yaml")
    assert ended.status == 0
    assert "note: 1 fault, " in ended.err
    assert " more" not in ended.err


def test_data_that_cannot_be_read_writes_nothing(tmp_path, tunesmith):
    ended = tunesmith("init", tmp_path / "none.jsonl", "--out", tmp_path / "c.yaml")
    assert ended.status == 1
    assert "none.jsonl" in ended.err
    assert not (tmp_path / "c.yaml").exists()
