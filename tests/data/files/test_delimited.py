"""Tables in text: any delimiter, rows where they begin, and a quote that swallows nothing."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.files.reading import read
from tunesmith.data.files import delimited

CELLS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n",;|'), max_size=8
)


@pytest.mark.parametrize(
    ("name", "delimiter", "notes"),
    [
        ("a.csv", ",", set()),
        ("a.csv", ";", {"delimiter"}),
        ("a.csv", "\t", {"delimiter"}),
        ("a.csv", "|", {"delimiter"}),
        ("a.tsv", "\t", set()),
        ("a.psv", "|", set()),
        ("a.ssv", ";", set()),
        ("a.tsv", ",", {"delimiter"}),
    ],
)
def test_the_delimiter_is_seen_and_told_where_it_is_not_the_usual(tmp_path, name, delimiter, notes):
    table = "q,a\nhi: you/there,yes\nwho?,me".replace(",", delimiter)
    found = read(tmp_path / name, table)
    assert [set(row) for row in found.rows] == [{"q", "a"}] * 2
    assert (found.rows[1], found.lines) == ({"q": "who?", "a": "me"}, [2, 3])
    assert found.notes == notes


def test_any_delimiter_can_be_named(tmp_path):
    assert read(tmp_path / "a.csv", "q~a\n1,2~3", delimiter="~").rows == [{"q": "1,2", "a": "3"}]
    assert read(tmp_path / "a.csv", "q\ta\n1,2\t3", delimiter="tab").rows == [
        {"q": "1,2", "a": "3"}
    ]
    assert read(tmp_path / "a.csv", "a,b\n", delimiter="::").faults == [("unknown_delimiter", 0)]
    assert read(tmp_path / "a.csv", "sep=|\nq|a\n1|2").rows == [{"q": "1", "a": "2"}]


def test_two_delimiters_that_fit_as_well_are_asked_about(tmp_path):
    table = "q;a,b\n1;2,3\n"
    assert read(tmp_path / "a.tsv", table).faults == [("ambiguous_delimiter", 0)]
    assert read(tmp_path / "a.tsv", table, delimiter=",").rows == [{"q;a": "1;2", "b": "3"}]


@settings(deadline=None, derandomize=True)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_what_a_writer_wrote_is_read(rows, tmp_path_factory):
    text = io.StringIO()
    csv.writer(text).writerows([("q", "a"), *rows])
    found = read(tmp_path_factory.mktemp("t") / "a.csv", text.getvalue().encode(), delimiter=",")
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    assert [(row["q"], row["a"]) for row in found.rows] == kept
    assert {code for code, _ in found.faults} <= {"empty_file"}


def test_a_row_over_several_lines_has_the_line_where_it_begins(tmp_path):
    found = read(tmp_path / "a.csv", 'q,a\n"one\ntwo",x\n\nthree,"y\n\nz"\nfour,w')
    assert found.lines == [2, 5, 8]
    assert found.rows[1]["a"] == "y\n\nz"
    assert found.blank == [4]


@pytest.mark.parametrize("others", ['"q{}","a{}"', "q{},a{}", 'q{},"a ""{}"""'])
def test_an_open_quote_costs_its_row_alone(tmp_path, others):
    lines = ["q,a", *(others.format(i, i) for i in range(2, 40))]
    lines[9] = 'q,"open'
    found = read(tmp_path / "a.csv", "\n".join(lines))
    assert found.faults == [("open_quote", 10)]
    assert found.lines == [line for line in range(2, 40) if line != 10]


def test_a_file_of_open_quotes_is_given_up(tmp_path):
    found = read(tmp_path / "a.csv", "q,a\n" + 'x,"y" z\n' * 500)
    assert found.faults.count(("open_quote", 0)) == 1
    assert len(found.faults) == delimited.MAX_UNCLOSED + 1


def test_rows_of_another_width_are_faults_where_they_stand(tmp_path):
    found = read(tmp_path / "a.csv", "q,a\n1,2,3\n4,5\n6\n")
    assert (found.faults, found.lines) == ([("ragged_row", 2), ("ragged_row", 4)], [3])


def test_a_carriage_return_outside_quotes_is_told_as_that(tmp_path):
    found = read(tmp_path / "a.csv", "q,a\n1\rx,2\n3,4\n")
    assert (found.faults, found.lines) == ([("stray_line_end", 2)], [3])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_on_any_system(tmp_path, end):
    found = read(tmp_path / "a.csv", end.join(["q,a", "1,2", "3,4"]))
    assert (found.rows[1], found.lines) == ({"q": "3", "a": "4"}, [2, 3])


def test_spaces_before_quotes_belong_to_the_delimiter(tmp_path):
    assert read(tmp_path / "a.csv", 'q, a\n1, "2, 3"\n').rows == [{"q": "1", "a": "2, 3"}]
    assert read(tmp_path / "a.csv", "q, a\n1,  2\n").rows == [{"q": "1", "a": "  2"}]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("q,a\n", [("empty_file", 0)]),
        ("a,a\n1,2\n", [("no_header", 1)]),
        (",,,a\n1,2,3,4\n", [("no_header", 1)]),
        ("\n\nq,a\n1,2\n", []),
    ],
)
def test_the_first_row_must_name_the_columns(tmp_path, text, faults):
    assert read(tmp_path / "a.csv", text).faults == faults


def test_a_column_without_a_name_is_called_by_its_place_where_it_holds_anything(tmp_path):
    assert read(tmp_path / "a.csv", ",q,a,\n0,1,2,\n").rows == [
        {"column 1": "0", "q": "1", "a": "2"}
    ]


def test_a_row_too_large_is_a_fault_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 1000)
    found = read(tmp_path / "a.csv", "q,a\n" + '"' + "x\n" * 600 + '",y\n1,2\n')
    assert ("row_too_large", 2) in found.faults
    assert found.rows[-1] == {"q": "1", "a": "2"}


def test_line_ends_of_windows_inside_a_cell_are_line_ends(tmp_path):
    found = read(tmp_path / "a.csv", 'prompt,completion\r\n"one\r\ntwo",a\r\n"x\ny","b\r"\r\n')
    assert found.rows == [
        {"prompt": "one\ntwo", "completion": "a"},
        {"prompt": "x\ny", "completion": "b\r"},
    ]
    assert found.lines == [2, 4]


def test_a_comma_before_a_quote_in_a_cell_leaves_the_spaces_of_others(tmp_path):
    found = read(tmp_path / "a.csv", 'q,a\n"He said, ""hi"" to me",    code\nb,  c\n')
    assert found.rows == [{"q": 'He said, "hi" to me', "a": "    code"}, {"q": "b", "a": "  c"}]
    assert found.faults == []
