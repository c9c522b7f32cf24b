"""What is asked again: words and keys, from files and flags, and back through a written config."""

import pytest

from tunesmith.config import load_run_config
from tunesmith.config.evaluate import ConsistencySettings, KnowledgeSettings
from tunesmith.config.load import parse_overrides
from tunesmith.core.errors import ConfigError

DATA = ["--data", "x.jsonl"]


def evaluate(*flags):
    return load_run_config(None, parse_overrides([*DATA, *flags])).evaluate


def test_both_are_on_unless_turned_off():
    assert evaluate().consistency == ConsistencySettings()
    assert evaluate().knowledge == KnowledgeSettings()
    off = evaluate("--evaluate.consistency", "none", "--evaluate.knowledge", "none")
    assert off.consistency is None
    assert off.knowledge is None
    on = evaluate("--evaluate.consistency", "default", "--evaluate.knowledge", "default")
    assert on == evaluate()


def test_keys_and_a_file():
    checked = ("--evaluate.checks", "[{kind: exact}]")
    facts = ("--evaluate.knowledge", "facts.jsonl")
    found = evaluate("--evaluate.consistency.rows", "7", *facts, *checked)
    assert found.consistency.rows == 7
    assert found.knowledge.questions == "facts.jsonl"
    keys = ("--evaluate.knowledge.questions", "f.jsonl", "--evaluate.knowledge.rows", "9")
    more = evaluate(*keys, *checked)
    assert (more.knowledge.questions, more.knowledge.rows) == ("f.jsonl", 9)


@pytest.mark.parametrize("word", ["none", "default"])
def test_a_written_config_is_read_as_it_was(word):
    flags = ["--evaluate.consistency", word, "--evaluate.knowledge", word]
    made = load_run_config(None, parse_overrides([*DATA, *flags]))
    again = load_run_config(None, made.model_dump(mode="json", by_alias=True))
    assert again == made


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--evaluate.consistency", "maybe"], "must be default, none, or keys such as"),
        (["--evaluate.consistency.samples", "1"], "one sample agrees with nothing"),
        (["--evaluate.consistency.temperature", "0"], "must be above 0"),
        (["--evaluate.consistency.minutes", "-1"], "must be above 0"),
        (["--evaluate.knowledge.rows", "1"], "must be 2 or more"),
    ],
)
def test_what_has_no_effect_or_sense_is_refused(flags, why):
    with pytest.raises(ConfigError, match=why):
        evaluate(*flags)
