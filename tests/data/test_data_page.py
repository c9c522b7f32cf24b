"""docs/data.md and docs/data-quality.md: what they say of formats, files and notes is so."""

import ast
import json
import re

import pytest

from tests.source import ROOT
from tunesmith.data.formats.table import FORMATS
from tunesmith.data.read import scan
from tunesmith.data.records import READERS

QUALITY = (ROOT / "docs" / "data-quality.md").read_text(encoding="utf-8")
NOTES = {"Remark", "Note", "DataFinding", "notes.remark"}
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \| `(\{.*?\})` \|", PAGE, re.M))


def test_each_format_and_kind_is_on_the_page():
    assert ROWS.keys() == FORMATS.keys()
    for suffix in READERS:
        assert f"`{suffix}`" in PAGE


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_page_has_the_format_that_it_says(name, write):
    reading = scan(write(json.loads(ROWS[name])))
    assert (reading.format, len(reading.conversations), reading.faults) == (name, 1, ())


def codes_of_notes():
    """Every code that the sources give a note."""
    for path in (ROOT / "src" / "tunesmith" / "data").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in NOTES:
                named = [a.value for a in call.args[:2] if isinstance(a, ast.Constant)]
                yield from (code for code in named if re.fullmatch("[a-z_]+", str(code)))


def test_each_kind_of_note_is_explained():
    found = set(codes_of_notes())
    assert {"unused_keys", "blank_line", "knowledge", "header"} <= found
    explained = set(re.findall(r"`([a-z_]+)`", QUALITY))
    assert found - explained == set()
