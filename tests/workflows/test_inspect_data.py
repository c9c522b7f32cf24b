import json

import pytest

from tunesmith.config import load_run_config
from tunesmith.errors import DataError
from tunesmith.workflows.inspect_data import inspect_data, shown_rows
from tunesmith.workflows.rows import load_rows
from tunesmith.workflows.tokenizing import open_tokenizer


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


def codes(inspection):
    return [fault.code for fault in inspection.faults]


def would_run(config, base_folder):
    opened = open_tokenizer(str(base_folder))
    try:
        return load_rows(config.data, opened.tokenizer, context=opened.context, seed=0)
    except DataError:
        return None


LONG = row(9, "x" * 600)


@pytest.mark.parametrize(
    ("rows", "data"),
    [
        ([row(1), row(2)], {}),
        ([row(1)], {}),
        ([row(1)], {"eval": 0}),
        ([row(1), row(2), {"prompt": "x"}], {}),
        ([row(1), row(2), LONG], {}),
        ([row(1), row(2), LONG], {"too_long": "drop", "eval": 0}),
        ([row(1), row(2)], {"max_tokens": 5}),
        ([row(1), row(2)], {"max_tokens": 5, "too_long": "drop"}),
        ([row(1), row(2, "<|im_end|> sneaked in")], {}),
        ([], {}),
    ],
)
def test_there_is_a_fault_exactly_where_a_run_would_refuse(rows, data, config, base_folder):
    settings = config(*rows, **data)
    (inspection,) = inspect_data(settings)
    assert bool(inspection.faults) == (would_run(settings, base_folder) is None)


def test_tokens_are_those_that_a_run_reads(config, base_folder):
    settings = config(row(1), row(2), row(3), eval=0)
    (inspection,) = inspect_data(settings)
    rows = would_run(settings, base_folder).train
    assert inspection.tokens == rows.tokens
    assert inspection.supervised_tokens == rows.supervised_tokens
    assert inspection.longest == rows.longest


def test_sound_rows_are_measured_beside_faulty_ones(config):
    (sound,) = inspect_data(config(row(1), row(2)))
    (mixed,) = inspect_data(config(row(1), row(2), {"prompt": "x"}, row(3, "<|im_end|>")))
    assert (mixed.rows, mixed.tokens) == (4, sound.tokens)
    assert codes(mixed) == ["missing_column", "control_tokens"]


def test_what_is_cut_is_a_warning_with_its_lines(config):
    (inspection,) = inspect_data(config(row(1), LONG, row(3), too_long="cut"))
    (warning,) = [each for each in inspection.warnings if each.code == "cut"]
    assert (warning.count, warning.lines) == (1, (2,))
    assert inspection.longest == 400


def test_spans_cover_the_text_and_mark_what_is_trained(config):
    (shown, _), faults = shown_rows(config(row(1), row(2), row(3)), most=2)
    assert faults == ()
    assert shown.spans[0][0] == 0
    assert shown.spans[-1][1] == len(shown.text)
    assert all(a[1] == b[0] for a, b in zip(shown.spans, shown.spans[1:], strict=False))
    assert [shown.text[a:b] for a, b, trained in shown.spans if trained] == ["hello<|im_end|>"]


def test_faulty_rows_are_passed_over_and_told(config):
    rows, faults = shown_rows(config({"prompt": "x"}, row(2)), most=3)
    assert [each.line for each in rows] == [2]
    assert [fault.line for fault in faults] == [1]


MIXED = [row(1), row(1), row(3, "hi"), row(4, "x" * 600), row(5)]


def test_what_is_dropped_by_name_is_not_measured_and_a_run_drops_the_same(config, base_folder):
    settings = config(*MIXED, eval=0, drop=["duplicates", "too_long"])
    (inspection,) = inspect_data(settings)
    assert inspection.faults == ()
    rows = would_run(settings, base_folder)
    assert rows.train.lines.tolist() == [1, 3, 5]
    assert inspection.tokens == rows.train.tokens
    told = [(note.code, note.message, note.count) for note in (*rows.notes, *rows.train.notes)]
    checked = [(note.code, note.message, note.count) for note in inspection.warnings]
    assert told == [each for each in checked if each[0] != "few_rows"]
    assert [count for code, _, count in told if code == "dropped"] == [1, 1]


def test_rows_of_the_evaluation_file_are_missed_in_training(config, tmp_path):
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps(row(3)) + "\n")
    (train, _) = inspect_data(config(*MIXED[:3], eval=str(held)))
    (leak,) = [each for each in train.warnings if each.code == "leakage"]
    assert (leak.count, leak.lines) == (1, (3,))
    assert str(held) in leak.message
    (train, _) = inspect_data(config(*MIXED[:3], eval=str(held), drop=["leakage"]))
    assert "leakage" not in {each.code for each in train.warnings}


def test_nothing_left_is_a_fault_as_in_a_run(config, base_folder, tmp_path):
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps(row(1)) + "\n")
    settings = config(row(1), eval=str(held), drop=["leakage"])
    (train, _) = inspect_data(settings)
    assert codes(train) == ["no_rows"]
    assert would_run(settings, base_folder) is None


def test_the_estimate_is_of_what_is_trained(config):
    half, none = (inspect_data(config(*(row(i) for i in range(20)), eval=e))[0] for e in (0.5, 0))
    assert none.estimate.tokens == 3 * none.tokens
    assert half.estimate.tokens == pytest.approx(none.estimate.tokens / 2, abs=1)
    assert inspect_data(config({"prompt": "x"}))[0].estimate is None
