"""regex: found anywhere in the answer as it stands."""

import pytest

from tunesmith.config.checks import RegexSettings
from tunesmith.config.faults import validate
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.text_rules import regex_check


def score(answer, pattern):
    return regex_check(RegexSettings(pattern=pattern)).score(answer, None)


def test_a_pattern_is_searched_not_matched_from_the_start():
    assert score("order 4711 found", r"\d{4}") == 1.0
    assert score("order found", r"\d{4}") == 0.0
    assert score("order 4711", r"^\d{4}$") == 0.0


def test_flags_stand_in_the_pattern():
    assert score("YES", "yes") == 0.0
    assert score("YES", "(?i)yes") == 1.0


@pytest.mark.parametrize("pattern", ["(", "*a", "(?P<n>a)(?P<n>b)", "a{99999999999999999999}"])
def test_an_invalid_pattern_is_a_config_error_that_names_the_key(pattern):
    with pytest.raises(ConfigError, match="`pattern`: not a valid regular expression"):
        validate(RegexSettings, {"kind": "regex", "pattern": pattern}, source="a.yaml")
