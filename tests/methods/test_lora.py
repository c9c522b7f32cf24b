import math

import pytest
import torch
from torch import nn

from tests.families import tiny_model
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import ConfigError
from tunesmith.engine.forward import prepare_
from tunesmith.engine.term import Term
from tunesmith.methods.lora_variants import TAKEN, choose
from tunesmith.methods.table import attach

VARIANTS = {
    "lora": LoraSettings(rank=3, alpha=5),
    "rslora": LoraSettings(rank=3, alpha=5, rslora=True),
    "dora": LoraSettings(rank=3, alpha=5, dora=True),
    "pissa": LoraSettings(rank=3, alpha=5, init="pissa"),
    "olora": LoraSettings(rank=3, alpha=5, init="olora"),
    "olora, dora": LoraSettings(rank=3, alpha=5, init="olora", dora=True),
    "lora-fa": LoraSettings(rank=3, alpha=5, freeze_a=True),
    "lora+": LoraSettings(rank=3, alpha=5, loraplus_lr_ratio=4),
    "experts": LoraSettings(rank=3, alpha=5, target_parameters=["gate_up_proj", "down_proj"]),
    "routers": LoraSettings(rank=2, targets=["o_proj"], target_parameters=["*.weight"]),
    "qlora": LoraSettings(kind="qlora", rank=3, alpha=5),
    "loftq": LoraSettings(kind="qlora", rank=8, alpha=5, init="loftq"),
    "qlora, dora, pissa": LoraSettings(kind="qlora", rank=3, dora=True, init="pissa"),
}
NAMES = [f"model.layers.{i}.{m}" for i in (0, 1, 10) for m in ("self_attn.q_proj", "mlp.up_proj")]


def test_all_linear_layers_are_the_default_and_the_head_is_none_of_them():
    engine = prepare_(tiny_model("llama"))
    assert len(choose(LoraSettings(), list(engine.linears))) == 7 * 3
    assert not any("lm_head" in name for name in engine.linears)


def test_targets_are_last_parts_of_names_or_globs():
    assert list(choose(LoraSettings(targets=["q_proj"]), NAMES)) == NAMES[::2]
    assert list(choose(LoraSettings(targets=["model.layers.1.*"]), NAMES)) == NAMES[2:4]
    assert list(choose(LoraSettings(targets=["layers.1.mlp.up_proj"]), NAMES)) == [NAMES[3]]


@pytest.mark.parametrize("key", ["targets", "rank_pattern", "alpha_pattern"])
def test_a_pattern_that_names_nothing_is_refused_with_what_there_is(key):
    value = ["wq"] if key == "targets" else {"wq": 2}
    with pytest.raises(ConfigError, match=rf"{key} \['wq'\].*q_proj, up_proj.*method\.{key}"):
        choose(LoraSettings(**{key: value}), NAMES)


def test_patterns_give_layers_another_rank_and_alpha_and_the_scale_follows():
    settings = LoraSettings(
        rank=4, alpha=8, rank_pattern={"up_proj": 16}, alpha_pattern={"q_proj": 2}
    )
    shapes = choose(settings, NAMES)
    assert (shapes[NAMES[0]].rank, shapes[NAMES[0]].scale) == (4, 0.5)
    assert (shapes[NAMES[1]].rank, shapes[NAMES[1]].scale) == (16, 0.5)
    assert choose(LoraSettings(rank=16, alpha=8, rslora=True), NAMES)[NAMES[0]].scale == 2.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_what_a_start_taken_from_the_weights_learned_survives_16_bit(start, dtype):
    weight = torch.randn(96, 64, generator=torch.Generator().manual_seed(0))
    a, b = TAKEN[start](weight, 4, 2.0, 0)
    moved = [nn.Parameter(t + 1e-3 * torch.randn_like(t)) for t in (a, b)]
    term = Term(*moved, 2.0, offset=(nn.Parameter(a), nn.Parameter(b)))
    exact = moved[1] @ moved[0] - b @ a
    narrow_a, narrow_b = (tensor.float() for tensor in term.cast(dtype))
    assert (narrow_b @ narrow_a - exact).norm() < 0.005 * exact.norm()


@pytest.mark.parametrize("alpha", [0.0, -4.0, math.inf])
def test_an_alpha_that_would_silence_or_turn_a_layer_is_refused(alpha):
    with pytest.raises(ConfigError, match="every alpha must be a number above 0"):
        LoraSettings(alpha_pattern={"q_proj": alpha})


def test_a_layers_start_does_not_depend_on_the_other_targets():
    few = attach(prepare_(tiny_model("llama")), LoraSettings(targets=["v_proj"]), seed=3)
    all_ = attach(prepare_(tiny_model("llama")), LoraSettings(), seed=3)
    for name, parameter in few.parameters.items():
        assert parameter.equal(all_.parameters[name])
