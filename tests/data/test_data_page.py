"""docs/data.md: what it says of formats and kinds of files is so."""

import json
import re

import pytest

from tests.source import ROOT
from tunesmith.data.formats.table import FORMATS
from tunesmith.data.read import scan
from tunesmith.data.records import READERS

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
