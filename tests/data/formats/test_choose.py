"""Tables without a header: it is asked, never guessed, and no row is lost in silence."""

import pytest

from tests.data.files.workbooks import write_workbook
from tunesmith.data.read import scan

MAP = {"prompt": "0", "completion": "1"}
ROWS = [("Turn the light on", "on"), ("It is too bright", "off"), ("I can't see", "on")]


@pytest.fixture
def table(tmp_path):
    def written(*rows, name="a.csv"):
        path = tmp_path / name
        path.write_text("".join(",".join(cells) + "\n" for cells in rows))
        return path

    return written


def said(reading):
    return [tuple(m.content for m in c.messages) for c in reading.conversations]


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (("Turn the light on", "on"), "`on` is a value in its column too"),
        (("Is it you?", "yes"), "`Is it you?` looks like a sentence"),
        (("a b", "3"), "`3` is a number"),
        (("we went to the sea and it was so cold", "sad"), "looks like a sentence"),
    ],
)
def test_a_first_row_that_looks_like_one_is_asked_about(first, why, table):
    path = table(first, *ROWS[1:])
    (fault,) = scan(path).faults
    assert (fault.code, fault.line) == ("no_header", 1)
    assert why in fault.message
    assert "--data.map prompt=0 --data.map completion=1" in fault.remedy


@pytest.mark.parametrize("first", [("frage", "antwort"), ("Prompt", "on"), ("q", "a")])
def test_names_are_not_taken_for_a_row(first, table):
    (fault,) = scan(table(first, *ROWS)).faults
    assert fault.code == "unknown_format"


def test_a_header_that_stands_there_again_is_one(table):
    (fault,) = scan(table(("frage", "antwort"), *ROWS, ("frage", "antwort"))).faults
    assert fault.code == "unknown_format"


def test_what_the_message_says_keeps_every_row(table):
    reading = scan(table(*ROWS), columns=MAP)
    assert said(reading) == ROWS
    assert [c.line for c in reading.conversations] == [1, 2, 3]
    assert [note.code for note in reading.notes] == ["no_header"]


def test_a_workbook_is_read_so_too(tmp_path):
    path = tmp_path / "a.xlsx"
    cells = {f"{'AB'[j]}{i}": cell for i, row in enumerate(ROWS, 1) for j, cell in enumerate(row)}
    write_workbook(path, {"rows": cells})
    assert [fault.code for fault in scan(path).faults] == ["no_header"]
    assert said(scan(path, columns=MAP)) == ROWS


def test_a_row_that_is_mapped_as_names_is_told(table):
    reading = scan(table(*ROWS), columns={"prompt": ROWS[0][0], "completion": "on"})
    assert said(reading) == ROWS[1:]
    (note,) = [note for note in reading.notes if note.code == "header"]
    assert "`on` is a value in its column too" in note.message
    assert note.message.endswith("--data.map prompt=0 --data.map completion=1")


def test_columns_with_names_are_not_counted(table):
    (fault,) = scan(table(("Question", "Label"), *ROWS), columns=MAP).faults
    assert (fault.code, fault.line) == ("header", 1)
    assert "--data.map prompt=Question --data.map completion=Label" in fault.remedy


def test_a_header_that_counts_the_columns_is_one(table):
    rows = [(str(i), *cells) for i, cells in enumerate(ROWS)]
    assert said(scan(table(("", "0", "1"), *rows), columns=MAP)) == ROWS
    assert said(scan(table(("0", "1"), *ROWS), columns=MAP)) == ROWS


def test_rows_of_another_width_than_the_first_are_faults(table):
    (fault,) = scan(table(*ROWS, ("alone",)), columns=MAP).faults
    assert (fault.code, fault.line) == ("ragged_row", 4)
    assert "the first 2" in fault.message


def test_a_place_that_no_row_has_is_told(table):
    (fault,) = scan(table(*ROWS), columns={"prompt": "0", "completion": "5"}).faults
    assert fault.code == "absent_column"
