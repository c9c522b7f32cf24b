"""A LoraConfig of PEFT trains what the same settings of ours train."""

import pytest
from peft import LoraConfig, PrefixTuningConfig
from safetensors.torch import load_file

import tunesmith as ts
from tests.runs.tiny import UNMEASURED, base_folder, rows_file
from tunesmith.api.settings import plain
from tunesmith.core.errors import ConfigError


def peft(**changes):
    given = {"r": 4, "lora_alpha": 8, "target_modules": ["v_proj", "q_proj"], **changes}
    return LoraConfig(task_type="CAUSAL_LM", **given)


def test_it_trains_the_same_adapter(tmp_path):
    base, rows = base_folder(tmp_path / "base"), rows_file(tmp_path / "rows.jsonl")
    methods = peft(), ts.LoRA(rank=4, alpha=8, targets=["q_proj", "v_proj"])
    runs = [
        ts.train(
            str(rows),
            model=str(base),
            method=method,
            steps=2,
            settings={"evaluate": dict(UNMEASURED)},
            out=tmp_path / str(i),
            progress=False,
        )
        for i, method in enumerate(methods)
    ]
    one, other = (load_file(run.folder / "adapter/adapter_model.safetensors") for run in runs)
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def test_its_defaults_are_kept_and_its_variants_are_ours():
    assert plain(LoraConfig(target_modules="all-linear")) == {
        "kind": "lora", "rank": 8, "alpha": 8, "dropout": 0.0, "rslora": False, "dora": False,
        "rank_pattern": {}, "alpha_pattern": {}, "targets": "all-linear", "init": None,
    }  # fmt: skip
    found = plain(peft(target_modules=[], target_parameters=["experts.down_proj"]))
    assert (found["targets"], found["target_parameters"]) == ([], ["experts.down_proj"])
    found = plain(peft(use_dora=True, use_rslora=True, init_lora_weights="pissa"))
    assert (found["dora"], found["rslora"], found["init"]) == (True, True, "pissa")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (LoraConfig(), "has no target_modules"),
        (peft(bias="all"), "bias='all'"),
        (peft(modules_to_save=["lm_head"]), "modules_to_save"),
        (peft(init_lora_weights="eva"), "init_lora_weights='eva'"),
        (PrefixTuningConfig(num_virtual_tokens=5), "of type PREFIX_TUNING"),
    ],
)
def test_what_ours_does_not_have_is_refused_by_name(config, says):
    with pytest.raises(ConfigError, match=says):
        plain(config)


def test_of_patterns_that_overlap_the_first_counts_as_in_peft():
    given = {"layers.0.self_attn.q_proj": 8, "q_proj": 4}
    found = plain(peft(rank_pattern=given))
    assert list(found["rank_pattern"].items()) == [*reversed(given.items())]
