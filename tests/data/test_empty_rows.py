"""Rows without a question or an answer: faults, or dropped on request, counted and reported."""

import json

import pytest

from tunesmith.config.load import load_run_config, parse_overrides
from tunesmith.data.faults import FaultyData
from tunesmith.data.read import SourceRequest, scan_source
from tunesmith.data.split_file import SplitSettings, split_data

TABLE = 'prompt,completion\na,b\n,c\nd,\n"e","  "\nf,g\nh,i\nj,k\n'


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text(TABLE)
    return path


def test_they_are_faults_that_name_the_flag(table):
    reading = scan_source(SourceRequest(str(table)))
    assert [(fault.line, fault.code) for fault in reading.faults] == [
        *((3, "empty"), (4, "empty"), (5, "empty")),
    ]
    assert all("--data.drop empty" in fault.remedy for fault in reading.faults)


def test_on_request_they_are_dropped_counted_and_listed(table):
    reading = scan_source(SourceRequest(str(table), drop_empty=True))
    assert reading.faults == ()
    assert [row.line for row in reading.conversations] == [2, 6, 7, 8]
    (note,) = reading.notes
    assert (note.code, note.count, note.lines) == ("dropped", 3, (3, 4, 5))
    assert note.message == "rows left out by --data.drop empty"


@pytest.mark.parametrize("nothing", ["null", "NaN", '""', '"  "'])
@pytest.mark.parametrize("column", ["prompt", "completion", "question", "answer"])
def test_a_cell_without_a_value_is_empty_in_json_too(nothing, column, tmp_path):
    path = tmp_path / "a.jsonl"
    other = {"prompt": "completion", "completion": "prompt"}
    other |= {"question": "answer", "answer": "question"}
    good = json.dumps({column: "x", other[column]: "y"})
    path.write_text(f'{good}\n{{"{column}": {nothing}, "{other[column]}": "y"}}\n{good}\n')
    (fault,) = scan_source(SourceRequest(str(path))).faults
    assert (fault.line, fault.code) == (2, "empty")
    reading = scan_source(SourceRequest(str(path), drop_empty=True))
    assert (reading.faults, len(reading.conversations)) == ((), 2)


def test_other_faults_of_an_empty_row_are_still_faults(tmp_path):
    path = tmp_path / "a.jsonl"
    turns = [{"role": "assistant", "content": ""}, {"role": "user", "content": "q"}]
    path.write_text(json.dumps({"messages": turns}) + "\n")
    codes = {each.code for each in scan_source(SourceRequest(str(path), drop_empty=True)).faults}
    assert codes == {"empty", "assistant_first"}


def test_a_config_can_name_it():
    flags = parse_overrides(["--data", "x.csv", "--data.drop", "empty,duplicates"])
    assert load_run_config(None, flags).data.drop == ("empty", "duplicates")


def test_a_split_leaves_them_out_of_both_files(table, tmp_path):
    with pytest.raises(FaultyData, match=r"--data\.drop empty"):
        split_data(SplitSettings(SourceRequest(str(table)), str(tmp_path / "a"), share=0.5))
    asked = SourceRequest(str(table), drop_empty=True)
    done = split_data(SplitSettings(asked, str(tmp_path / "b"), share=0.5, by="row"))
    rows = [
        json.loads(line)["prompt"]
        for path in (done.train, done.held)
        for line in path.read_text().splitlines()
    ]
    assert sorted(rows) == ["a", "f", "h", "j"]
    assert done.rows == (2, 2)
    assert [note.code for note in done.notes] == ["dropped"]
