import pytest

from tunesmith.config import load_run_config, parse_overrides
from tunesmith.core.errors import ConfigError

SPELLINGS = ["duplicates,too_long", "[duplicates, too_long]", "duplicates, too_long,duplicates"]


def by_flags(*words):
    return load_run_config(None, parse_overrides(["--data", "x.jsonl", *words])).data


def by_file(**data):
    return load_run_config(None, {"data": {"train": "x.jsonl", **data}}).data


@pytest.mark.parametrize("text", SPELLINGS)
def test_names_are_given_with_commas_or_as_a_list(text):
    assert by_flags("--data.drop", text).drop == ("duplicates", "too_long")
    assert by_file(drop=["duplicates", "too_long"]).drop == ("duplicates", "too_long")
    assert by_file(drop=[]).drop == ()


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match=r"--data.drop: .*`duplicate`; did you mean `duplicates`"):
        by_flags("--data.drop", "duplicate,languages")
    with pytest.raises(ConfigError, match="known: duplicates, near_duplicates"):
        by_file(drop=["xyz"])
    with pytest.raises(ConfigError, match="drop"):
        by_file(drop=7)


def test_too_long_rows_are_dropped_by_either_key():
    assert by_flags("--data.drop", "too_long").long_rows == "drop"
    assert by_flags("--data.overflow", "truncate").long_rows == "truncate"
    with pytest.raises(ConfigError, match="give one of them"):
        by_file(drop=["too_long"], overflow="truncate")


def test_leakage_cannot_be_dropped_without_a_file_that_it_leaks_from():
    with pytest.raises(ConfigError, match="no effect unless eval is a file"):
        by_file(drop=["leakage"])
    assert by_file(drop=["leakage"], eval="held.jsonl").drop == ("leakage",)
