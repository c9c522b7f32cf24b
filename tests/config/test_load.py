"""What a user writes behind a flag is what its key takes, whatever YAML would make of it."""

import pytest

from tunesmith.config.load import load_run_config, parse_overrides
from tunesmith.core.errors import ConfigError, UsageError


def value_of(flag, *words):
    """What the last part of the flag's name got."""
    nested = parse_overrides([word for text in words for word in (f"--{flag}", text)])
    for part in flag.split("."):
        nested = nested[part]
    return nested


def test_a_mapping_given_pair_by_pair_keeps_every_pair():
    pairs = ("prompt=q", "completion=a: b", "system=1")
    expected = {"prompt": "q", "completion": "a: b", "system": "1"}
    assert value_of("data.map", *pairs) == expected
    assert value_of("data.map", "{prompt: q}", "completion=a") == {"prompt": "q", "completion": "a"}


def test_a_name_in_a_mapping_may_hold_dots_and_its_value_is_the_type_of_the_key():
    nested = parse_overrides(["--method.rank_pattern", "layers.0.q_proj=4", "--data", "a.jsonl"])
    assert load_run_config(None, nested).method.rank_pattern == {"layers.0.q_proj": 4}


def test_a_pair_given_twice_is_refused():
    with pytest.raises(UsageError, match=r"--data\.map is given prompt twice"):
        value_of("data.map", "prompt=q", "prompt=a")


@pytest.mark.parametrize(
    "text",
    [
        "a: b",
        "- a",
        "no",
        "1e5",
        "7",
        "",
        "~",
        "2024-01-01",
        "[draft] b",
        "[draft]",
        "'a",
        "{a: b}",
    ],
)
def test_a_key_of_text_takes_every_text_as_it_is(text):
    assert value_of("goal", text) == text


@pytest.mark.parametrize(
    ("flag", "text", "expected"),
    [
        ("train.lr", "1e-3", 1e-3),
        ("train.lr", "auto", "auto"),
        ("train.lr", "true", "true"),
        ("train.seed", "-1", -1),
        ("train.steps", "null", None),
        ("train.steps", "", ""),
        ("train.recompute", "yes", "yes"),
        ("train.average_steps", "0", 0),
        ("train.average_steps", "auto", "auto"),
        ("goal", "null", None),
        ("model", "null", "null"),
        ("data.eval", "0", 0),
        ("data.eval", "0.2", 0.2),
        ("data.eval", "a: b.jsonl", "a: b.jsonl"),
        ("data.train", "[a.jsonl, b.jsonl]", ["a.jsonl", "b.jsonl"]),
        ("data.train", "2024-01-01", "2024-01-01"),
        ("data.train", "[x].jsonl", "[x].jsonl"),
        ("method.targets", "[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("method.targets", "q_proj", "q_proj"),
        ("evaluate.checks", "[{kind: json}]", [{"kind": "json"}]),
        ("evaluate.checks", "- kind: json", "- kind: json"),
        ("data.map", "{prompt: a=b}", {"prompt": "a=b"}),
        ("data.map", "prompt: a", "prompt: a"),
        ("no.such.key", "{a: 1}", {"a": 1}),
        ("no.such.key", "a: 1", "a: 1"),
    ],
)
def test_a_word_becomes_what_its_key_takes(flag, text, expected):
    value = value_of(flag, text)
    assert (value, type(value)) == (expected, type(expected))


def test_a_switch_alone_is_true_and_another_flag_alone_is_refused():
    words = ["--train.tensorboard", "--train.seed", "3"]
    assert parse_overrides(words) == {"train": {"tensorboard": True, "seed": 3}}
    for flag in ("--train.seed", "--train.recompute", "--no.such.key"):
        with pytest.raises(UsageError, match=f"{flag} needs a value"):
            parse_overrides([flag, "--train.tensorboard"])


def test_a_value_and_a_section_under_one_name_are_refused():
    with pytest.raises(UsageError, match=r"goes into `goal`"):
        parse_overrides(["--goal", "a", "--goal.more", "b"])
    with pytest.raises(UsageError, match=r"`x` is neither a flag"):
        parse_overrides(["x"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [(True, "layers"), ("yes", "layers"), ("False", "none"), ("no", "none"), ("auto", "auto")],
)
def test_recompute_as_a_switch_means_layers_or_none(given, expected):
    values = {"data": {"train": "a.jsonl"}, "train": {"recompute": given}}
    assert load_run_config(None, values).train.recompute == expected


def test_a_list_that_is_no_yaml_says_why_and_how_to_write_it():
    with pytest.raises(UsageError, match=r"unknown escape character 'd'.*\n?.*single quotes"):
        parse_overrides(["--evaluate.checks", '[{kind: regex, pattern: "\\d"}]'])
    found = parse_overrides(["--evaluate.checks", "[{kind: regex, pattern: '\\d'}]"])
    assert found["evaluate"]["checks"] == [{"kind": "regex", "pattern": "\\d"}]
    assert parse_overrides(["--goal", "[as it is"])["goal"] == "[as it is"


def test_a_folder_in_place_of_a_config_says_how_to_go_on_with_what_it_holds(tmp_path):
    for file, told in (
        (None, "tunesmith init DATA"),
        ("config.yaml", f"tunesmith train --resume {tmp_path}"),
        ("comparison.json", f"tunesmith compare --resume {tmp_path}"),
    ):
        if file:
            (tmp_path / file).touch()
        with pytest.raises(ConfigError, match="is a folder") as refused:
            load_run_config(tmp_path, {})
        assert told in refused.value.remedy


def test_a_key_that_is_given_twice_is_refused_with_both_lines(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("data: {train: a}\ntrain:\n  lr: 1e-3\ntrain:\n  epochs: 2\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:4: .*`train` is given twice, in line 2 too"):
        load_run_config(file, {})
    file.write_text("data: &d {train: a}\nevaluate: {rows: 3, rows: 4}\n")
    with pytest.raises(ConfigError, match="`rows` is given twice"):
        load_run_config(file, {})


@pytest.mark.parametrize(("word", "value"), [("False", False), ("on", True), ("5", 5), ("a", "a")])
def test_an_option_of_a_template_means_what_its_word_says(word, value):
    found = parse_overrides(["--data.template_options", f"thinking={word}"])
    config = load_run_config(None, {"data": {"train": "a", **found["data"]}})
    assert config.data.template_options == {"thinking": value}
