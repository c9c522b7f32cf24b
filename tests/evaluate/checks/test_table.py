"""Every kind that a config can name has a check, and faults are told together."""

import typing

import pytest

from tunesmith.config.checks import (
    CheckSettings,
    EndsWithSettings,
    ExactSettings,
    JsonSettings,
    LabelSettings,
    RegexSettings,
)
from tunesmith.errors import ConfigError
from tunesmith.evaluate.checks.table import CHECKS, build_checks

ALL = (
    ExactSettings(),
    LabelSettings(),
    JsonSettings(),
    RegexSettings(pattern="a"),
    EndsWithSettings(endings=("a",)),
)


def test_the_table_lists_each_kind_of_the_settings_union():
    union = typing.get_args(CheckSettings)[0]
    kinds = {member.model_fields["kind"].default for member in typing.get_args(union)}
    assert set(CHECKS) == kinds == {settings.kind for settings in ALL}


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.kind)
def test_every_check_keeps_the_contract(settings):
    (check,) = build_checks([settings])
    assert check.name == settings.kind
    for answer in ("", "a", '{"a": 1}', "[" * 5000, "\ud800"):
        for reference in (None, "", "a", '{"a": 1}'):
            assert 0.0 <= check.score(answer, reference) <= 1.0
            fault = check.reference_fault(reference)
            assert fault is None or check.score(answer, reference) == 0.0


def test_checks_come_in_order_under_the_names_given():
    checks = build_checks(
        [LabelSettings(name="intent", field="intent"), LabelSettings(name="city", field="city")]
    )
    assert [check.name for check in checks] == ["intent", "city"]


def test_no_checks_are_no_error():
    assert build_checks([]) == ()


def test_two_checks_of_one_name_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"called label\. Give each its own `name`"):
        build_checks([LabelSettings(field="a"), LabelSettings(field="b")])
    with pytest.raises(ConfigError, match="called json"):
        build_checks([JsonSettings(), LabelSettings(name="json")])


def test_all_faults_are_told_at_once(tmp_path):
    broken = [
        JsonSettings.model_validate({"schema": str(tmp_path / name), "name": name})
        for name in ("a.json", "b.json")
    ]
    with pytest.raises(ConfigError) as caught:
        build_checks([*broken, ExactSettings(), ExactSettings()])
    assert "evaluate.checks.0: " in str(caught.value)
    assert "evaluate.checks.1: " in str(caught.value)
    assert "called exact" in str(caught.value)
