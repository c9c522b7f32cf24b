"""A setting by the name that it has elsewhere is refused with the name that it has here."""

import pytest

from tunesmith import LoRA
from tunesmith.cli.main import main
from tunesmith.config import load_run_config
from tunesmith.config.checks import JsonSettings
from tunesmith.config.keys import config_keys
from tunesmith.config.peer_names import OURS
from tunesmith.core.errors import ConfigError


def test_every_one_is_a_key_of_ours():
    assert {key for key in OURS.values() if key not in config_keys()} == set()


@pytest.mark.parametrize(
    ("section", "key", "here"),
    [
        ("train", "learning_rate", "train.lr"),
        ("train", "per_device_train_batch_size", "train.rows_per_step"),
        ("method", "r", "method.rank"),
        ("data", "max_seq_length", "data.max_tokens"),
    ],
)
def test_in_a_file(section, key, here):
    values = {"data": {"train": "a.jsonl"}}
    values[section] = {**values.get(section, {}), key: 1}
    with pytest.raises(ConfigError, match=f"unknown key `{section}.{key}`; here it is `{here}`"):
        load_run_config(None, values)


def test_in_python():
    with pytest.raises(ConfigError, match="unknown key `r`; here it is `rank`"):
        LoRA(r=8)
    with pytest.raises(ConfigError, match=r"here it is the key `train\.lr`"):
        LoRA(learning_rate=1e-4)


def test_as_a_flag(capsys):
    assert main(["train", "a.jsonl", "--learning_rate", "1e-4"]) == 2
    assert "here it is --train.lr." in capsys.readouterr().err


def test_a_near_key_is_the_one_that_is_taken():
    with pytest.raises(ConfigError, match="did you mean `schema`"):
        JsonSettings(schem={})
