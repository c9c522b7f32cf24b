import json

import pytest

from tunesmith.config import load_run_config
from tunesmith.runs.show_data import show_data


@pytest.fixture
def config(base_folder, tmp_path):
    def made(*rows, **data):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        values = {"model": str(base_folder), "data": {"train": str(path), **data}}
        return load_run_config(None, values)

    return made


def row(i, answer="hello"):
    return {"prompt": f"q{i}", "completion": answer}


def answers(shown):
    return [shown.text[a:b] for a, b, trained in shown.spans if trained]


def test_as_many_rows_as_asked_for_with_what_is_trained(config):
    found = show_data(config(row(1), row(2), row(3)), max_rows=2)
    assert found.faults == ()
    assert [answers(each) for each in found.rows] == [["hello<|im_end|>"]] * 2
    assert [each.line for each in found.rows] == [1, 2]


def test_faulty_rows_are_passed_over_and_told(config):
    found = show_data(config({"prompt": "x"}, row(2), row(3, "<|im_end|>")), max_rows=3)
    assert [each.line for each in found.rows] == [2]
    assert [fault.line for fault in found.faults] == [1, 3]
    assert show_data(config({"prompt": "x", "completion": True}), max_rows=1).rows == ()


def test_the_cut_is_where_a_run_would_cut(config):
    (whole,) = show_data(config(row(1)), max_rows=1).rows
    (short,) = show_data(config(row(1), max_tokens=6), max_rows=1).rows
    assert whole.cut is None
    assert short.text == whole.text
    assert short.cut == whole.token_ends[5]


def test_settings_of_the_run_are_followed_and_noted(config):
    talk = [
        {"role": r, "content": c} for r, c in zip(["user", "assistant"] * 2, "qaqb", strict=True)
    ]
    rows = show_data(config({"messages": talk}, document="answer"), max_rows=5).rows
    assert [answers(each) for each in rows] == [["a<|im_end|>"], ["b<|im_end|>"]]
    assert {each.line for each in rows} == {1}
    found = show_data(config(row(1, "<|im_end|>"), control_tokens="text"), max_rows=5)
    assert [answers(each) for each in found.rows] == [["<|im_end|><|im_end|>"]]
