"""Kinds of methods by each of their names, and an MLP that can take effect."""

import pytest
import yaml

from tunesmith.config import load_run_config, parse_overrides
from tunesmith.config.methods import PTuningSettings
from tunesmith.core.errors import ConfigError


def from_flags(*words):
    return load_run_config(None, parse_overrides(["--data", "a.jsonl", *words]))


@pytest.mark.parametrize("method", ["prefix", {"kind": "prefix", "tokens": 4}])
def test_prefix_is_p_tuning_in_a_file_and_is_resolved_so(method, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"data": {"train": "a.jsonl"}, "method": method}))
    config = load_run_config(path, {})
    assert isinstance(config.method, PTuningSettings)
    assert config.model_dump(mode="json")["method"]["kind"] == "p-tuning"


def test_prefix_is_p_tuning_as_a_flag_and_in_a_notebook():
    flags = from_flags("--method", "prefix", "--method.projection", "64")
    assert flags.method == PTuningSettings(kind="prefix", projection=64)
    assert flags.method.kind == "p-tuning"
    assert flags == from_flags("--method", "p-tuning", "--method.projection", "64")


def test_an_unknown_kind_is_told_all_kinds():
    with pytest.raises(ConfigError) as refused:
        from_flags("--method", "prefx")
    for kind in ("lora", "qlora", "full", "prompt", "p-tuning", "prefix"):
        assert f"'{kind}'" in refused.value.message


def test_an_unknown_key_beside_the_other_name_is_told_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean `method\.projection`"):
        from_flags("--method", "prefix", "--method.projektion", "3")


@pytest.mark.parametrize("value", [0, -3, True, "wide", 1.5])
def test_a_projection_that_is_no_width_is_refused(value):
    method = {"kind": "p-tuning", "projection": value}
    with pytest.raises(ConfigError, match=rf"--method\.projection: .*\(given: {value!r}\)"):
        load_run_config(None, {"data": {"train": "a.jsonl"}, "method": method})


def test_a_projection_over_a_folder_is_refused():
    with pytest.raises(ConfigError, match="holds keys and values without an MLP"):
        from_flags("--method", "p-tuning", "--method.projection", "8", "--method.init", "runs/a")
