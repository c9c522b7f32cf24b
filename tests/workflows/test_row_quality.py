import pytest

from tests.data.quality.rows import asked
from tunesmith.config.run import DataSettings
from tunesmith.errors import DataError
from tunesmith.workflows.row_quality import judge_rows, told_of_few

ROWS = asked(("is it free of charge", "yes"), ("is it free of charge", "yes"), ("who", "me"))


def settings(**data):
    return DataSettings(train="x.jsonl", eval=0, **data)


def test_what_is_named_leaves_and_is_counted():
    judged = judge_rows(ROWS, [], settings(drop=["duplicates"]))
    assert [row.line for row in judged.rows] == [1, 3]
    assert [(note.code, note.count) for note in judged.notes] == [("dropped", 1)]
    assert [note.code for note in judge_rows(ROWS, [], settings()).notes] == ["duplicates"]


def test_no_row_left_is_a_refusal():
    with pytest.raises(DataError, match="leakage leaves all out") as caught:
        judge_rows(ROWS[:1], ROWS[1:2], DataSettings(train="x", eval="y", drop=["leakage"]))
    assert caught.value.code == "no_rows"


def test_few_rows_are_told_under_every_name_of_the_method():
    assert [note.count for note in told_of_few(3, "prefix")] == [3]
    assert told_of_few(0, "lora") == ()
