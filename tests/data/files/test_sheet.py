"""Workbooks: cells as text, rows by their number, and no file that takes the process down."""

import gzip
import shutil
from pathlib import Path

from tests.data.files.reading import read
from tests.data.files.workbooks import write_workbook

MESSY = Path(__file__).parents[1] / "messy_tables"
HEADER = {"A1": "q", "B1": "a"}


def test_cells_are_text_as_the_workbook_shows_them(tmp_path):
    cells = HEADER | {"A2": "한글", "B2": 5, "A3": 3.25, "B3": True, "A4": "x"}
    found = read(write_workbook(tmp_path / "a.xlsx", {"one": cells}))
    assert found.rows == [{"q": "한글", "a": "5"}, {"q": "3.25", "a": "TRUE"}, {"q": "x", "a": ""}]
    assert (found.lines, found.faults) == ([2, 3, 4], [])


def test_rows_have_their_numbers_whatever_is_blank_above(tmp_path):
    cells = {"A3": "q", "B3": "a", "A4": "1", "B4": "2", "A7": "3", "B7": "4"}
    found = read(write_workbook(tmp_path / "a.xlsx", {"one": cells}))
    assert (found.lines, found.blank) == ([4, 7], [5, 6])


def test_of_several_sheets_one_is_asked_for_and_empty_ones_do_not_count(tmp_path):
    rows = HEADER | {"A2": "1", "B2": "2"}
    path = write_workbook(tmp_path / "a.xlsx", {"one": rows, "two": rows | {"A3": "3"}})
    assert read(path).faults == [("several_parts", 0)]
    assert len(read(path, part="two").rows) == 2
    assert read(path, part="three").faults == [("unknown_part", 0)]
    assert len(read(write_workbook(tmp_path / "b.xlsx", {"one": rows, "two": {}})).rows) == 1


def test_a_workbook_is_known_whatever_it_is_called(tmp_path):
    expected = read(MESSY / "simple.xlsx")
    for name in ("a.csv", "a.bin", "a.xls"):
        shutil.copy(MESSY / "simple.xlsx", tmp_path / name)
        assert read(tmp_path / name) == expected
    packed = read(tmp_path / "a.xlsx.gz", gzip.compress((MESSY / "simple.xlsx").read_bytes()))
    assert packed == expected


def test_a_cell_far_away_ends_no_process(tmp_path):
    far = write_workbook(tmp_path / "a.xlsx", {"one": HEADER | {"XFD1048576": "x"}})
    found = read(far)
    assert (found.rows, found.faults) == ([], [("broken_file", 0)])


def test_damage_is_a_fault(tmp_path):
    for name in ("simple.xlsx", "simple.xls", "simple.ods"):
        whole = (MESSY / name).read_bytes()
        for cut in (10, len(whole) // 2, len(whole) - 30):
            found = read(tmp_path / name, whole[:cut])
            assert [code for code, _ in found.faults] == ["broken_file"], (name, cut)


def test_options_of_text_have_no_effect_and_this_is_told(tmp_path):
    assert read(MESSY / "simple.ods", encoding="cp949").remarks == {"unused_option"}
