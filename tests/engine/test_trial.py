"""A family that is not in the table runs where a tiny model of it keeps every contract."""

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from tests.families import FAMILIES, SHAPE
from tunesmith.core.errors import ModelError
from tunesmith.engine import families, trial
from tunesmith.engine.forward import prepare_


@pytest.fixture(autouse=True)
def none_tried(monkeypatch):
    monkeypatch.setattr(families, "TRIED", {})
    monkeypatch.setattr(trial, "TRIED", families.TRIED)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_the_table_keeps_every_contract(family):
    config = AutoConfig.for_model(family, **{**SHAPE, **FAMILIES[family]})
    found = trial.try_family(config)
    assert found.supported
    assert found.broken is None
    assert trial.admit(config) == ()


def test_one_that_keeps_them_runs_with_a_note():
    config = AutoConfig.for_model("olmo", **SHAPE)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with pytest.raises(ModelError, match="`olmo` is not supported"):
        prepare_(model)
    (note,) = trial.admit(config)
    assert "olmo is not one of those that tests cover" in note
    assert len(prepare_(model).linears) == 7 * SHAPE["num_hidden_layers"]


# Layers that mix the rows of a text in ways of their own, with every kind that the family has.
MIXED = {
    "lfm3": {},
    "qwen3_next": {},
}


@pytest.mark.parametrize("kind", MIXED)
def test_layers_of_recent_hybrids_keep_every_contract(kind):
    found = trial.try_family(AutoConfig.for_model(kind, **MIXED[kind]))
    assert [each.name for each in found.contracts if each.broken] == []
    assert len(found.contracts) == 8


BROKEN = {
    "cohere": "the head's scores are multiplied by 0.0625 (times logit_scale)",
    "phi": "PhiForCausalLM has no language-model head without bias",
    "bloom": "BloomModel keeps its layers elsewhere than in `layers`",
    "gptj": "GPTJModel keeps its layers elsewhere than in `layers`",  # its sizes have other names
    "falcon": "FalconModel keeps its layers elsewhere than in `layers`",
    "mamba": "MambaMixer mixes the rows of a text in a way that packed streams do not know",
    "mamba2": "its config cannot be made tiny: ValueError: Inconsistent configuration",
    "t5": "it has an encoder beside its decoder: its answers do not continue a text",
    "vit": "transformers has no class of it that continues a text (AutoModelForCausalLM)",
}


def test_a_gradient_that_is_0_but_for_rounding_differs_in_nothing():
    opt = trial.try_family(AutoConfig.for_model("opt"))  # the softmax takes a key's bias away
    assert opt.contracts[4].name == "gradients equal transformers' own"
    assert opt.contracts[4].broken is None


@pytest.mark.parametrize("kind", BROKEN)
def test_one_that_breaks_a_contract_is_refused_with_the_reason(kind):
    config = AutoConfig.for_model(kind)
    *kept, last = trial.try_family(config).contracts
    assert BROKEN[kind] in last.broken
    assert all(each.broken is None for each in kept)
    with pytest.raises(ModelError, match=f"`{kind}` is not supported") as caught:
        trial.admit(config)
    assert last.name in str(caught.value)
