"""Settings of checks: told apart by kind, with faults that name the key a user wrote."""

import pytest

from tunesmith.config.load import load_run_config
from tunesmith.core.errors import ConfigError


def config_with(*checks):
    return load_run_config(
        None, {"data": {"train": "rows.jsonl"}, "evaluate": {"checks": list(checks)}}
    )


def fault_of(check):
    with pytest.raises(ConfigError) as caught:
        config_with({"kind": "exact"}, check)
    return caught.value.message


def test_each_kind_has_its_own_settings_in_the_order_given():
    checks = config_with(
        {"kind": "json", "schema": "schema.json"},
        {"kind": "label", "field": "intent"},
        {"kind": "regex", "pattern": "^a"},
        {"kind": "ends_with", "endings": "요"},
        {"kind": "exact", "name": "same"},
    ).evaluate.checks
    assert [check.kind for check in checks] == ["json", "label", "regex", "ends_with", "exact"]
    assert checks[0].json_schema == "schema.json"
    assert checks[3].endings == ("요",)
    assert checks[4].name == "same"


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({"kind": "regex"}, "`evaluate.checks.1.pattern`: is missing"),
        ({"kind": "ends_with"}, "`evaluate.checks.1.endings`: is missing"),
        ({"kind": "regex", "pattern": "("}, "`evaluate.checks.1.pattern`: not a valid regular"),
        ({"kind": "regex", "pattern": "a", "patern": "b"}, "did you mean `evaluate.checks.1.patt"),
        ({"kind": "label", "fild": "x"}, "unknown key `evaluate.checks.1.fild`; did you mean"),
        ({"kind": "json", "json_schema": "a"}, "did you mean `evaluate.checks.1.schema`?"),
        ({"kind": "jsn"}, "`evaluate.checks.1.kind`: unknown kind 'jsn'; did you mean 'json'?"),
        ({"name": "x"}, "`evaluate.checks.1.kind`: is missing"),
        ({"kind": "ends_with", "endings": [" "]}, "`evaluate.checks.1.endings`: a text is blank"),
        ({"kind": "exact", "name": ""}, "`evaluate.checks.1.name`"),
    ],
)
def test_a_fault_names_the_key_as_the_user_wrote_it(check, expected):
    assert expected in fault_of(check)


def test_a_key_of_another_kind_is_refused():
    assert "unknown key `evaluate.checks.1.pattern`" in fault_of({"kind": "label", "pattern": "x"})


def test_faults_of_several_checks_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        config_with({"kind": "regex"}, {"kind": "ends_with"}, {"kind": "what"})
    assert len(caught.value.message.splitlines()) == 3


def test_an_unknown_key_of_a_run_names_the_nearest_of_the_same_place():
    with pytest.raises(ConfigError) as caught:
        load_run_config(
            None, {"data": {"train": "a"}, "trian": 1, "method": {"kind": "lora", "rnk": 3}}
        )
    assert "`trian`; did you mean `train`?" in caught.value.message
    assert "`method.rnk`; did you mean `method.rank`?" in caught.value.message


def test_a_key_one_level_too_high_names_where_it_belongs():
    with pytest.raises(ConfigError, match=r"`lr`; did you mean `train\.lr`\?"):
        load_run_config(None, {"data": {"train": "a"}, "lr": 1})


def test_a_kind_that_is_like_no_other_comes_with_those_known():
    assert "unknown kind 'what'; known: 'exact'," in fault_of({"kind": "what"})


@pytest.mark.parametrize("given", ["json", ["json"], {"kind": "json"}, [{"kind": "json"}]])
def test_a_name_alone_is_a_check_and_one_check_is_a_list(given):
    given = {"data": {"train": "rows.jsonl"}, "evaluate": {"checks": given}}
    assert [each.kind for each in load_run_config(None, given).evaluate.checks] == ["json"]
