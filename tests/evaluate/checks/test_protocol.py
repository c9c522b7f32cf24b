"""Rows that a check could not score are named before anything is generated."""

import pytest

from tunesmith.config.checks import JsonSettings, LabelSettings
from tunesmith.errors import DataError
from tunesmith.evaluate.checks.protocol import SHOWN_FAULTS, require_references
from tunesmith.evaluate.checks.table import build_checks

CHECKS = build_checks([JsonSettings(), LabelSettings(name="intent", field="intent")])


def test_usable_references_pass():
    require_references(CHECKS, ['{"intent": "a"}', '{"intent": "b"}'])


def test_every_unusable_row_is_named_with_its_check():
    with pytest.raises(DataError) as caught:
        require_references(CHECKS, ['{"intent": "a"}', "a", None])
    lines = caught.value.message.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "check `intent`, row 2",
        "check `intent`, row 3",
    ]


def test_a_long_list_of_faults_is_cut_and_counted():
    with pytest.raises(DataError) as caught:
        require_references(CHECKS, [None] * (SHOWN_FAULTS + 7))
    lines = caught.value.message.splitlines()
    assert len(lines) == SHOWN_FAULTS + 1
    assert lines[-1] == "... and 7 more"
