"""Old names of keys and values work, with a warning, and never beside the new ones."""

import warnings

import pytest

from tunesmith.config import load_run_config, parse_overrides
from tunesmith.config.keys import config_keys
from tunesmith.config.renamed import KEYS, VALUES, with_new_names
from tunesmith.core.errors import ConfigError, OldNameWarning

OLD = """
data: {train: x.jsonl, too_long: cut}
method: {kind: prompt, start_text: be polite}
train: {clip: 2, early_stop: 3, checkpoint_steps: 7}
evaluate:
  checks: [{kind: json}]
  examples: 4
  forgetting: {strength: full}
"""
NEW = """
data: {train: x.jsonl, overflow: truncate}
method: {kind: prompt, init_text: be polite}
train: {max_grad_norm: 2, patience: 3, save_steps: 7}
evaluate:
  checks: [{kind: json}]
  num_fewshot: 4
  forgetting: {scale: none}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(OLD)
    return path


def test_an_old_config_is_the_new_one_with_a_warning_for_each_name(file, tmp_path):
    (tmp_path / "new.yaml").write_text(NEW)
    with pytest.warns(OldNameWarning) as found:
        old = load_run_config(file, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_run_config(tmp_path / "new.yaml", {}) == old
        assert load_run_config(file, {}, warn=False) == old
    text = "\n".join(str(each.message) for each in found)
    assert "`train.clip` is now called `train.max_grad_norm`" in text
    assert "`data.overflow: cut` is now `data.overflow: truncate`" in text
    assert len(found) == 9  # two of too_long: its name and its value; strength likewise


def test_an_old_flag_goes_in_front_of_a_new_key(tmp_path):
    (tmp_path / "new.yaml").write_text(NEW)
    with pytest.warns(OldNameWarning):
        flags = parse_overrides(["--train.checkpoint_steps", "9", "--data.too_long", "refuse"])
    with pytest.warns(OldNameWarning):
        config = load_run_config(tmp_path / "new.yaml", flags)
    assert (config.train.save_steps, config.data.overflow) == (9, "error")


def test_a_key_under_both_names_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {train: x}\ntrain: {clip: 1, max_grad_norm: 2}")
    with pytest.raises(ConfigError, match=r"train\.clip"):
        load_run_config(tmp_path / "c.yaml", {})


def test_new_names_are_keys_and_old_ones_are_not():
    known = config_keys()
    assert set(KEYS.values()) <= set(known)
    assert not set(KEYS) & set(known)
    for key, values in VALUES.items():
        takes = known[key].type.split(" | ")
        assert set(values.values()) <= set(takes)
        assert not set(values) & set(takes)


def test_what_has_no_old_name_stays_as_it_is():
    values = {"data": {"train": "refuse", "overflow": "drop"}, "goal": "cut", "train": None}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_new_names(values) == values
