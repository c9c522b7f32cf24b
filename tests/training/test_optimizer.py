"""Weight decay shrinks what is trained by every method, as Hugging Face's Trainer has it."""

import peft
import pytest
import torch
from transformers import Trainer

from tests.families import tiny_model
from tests.variants import TEXT, VARIANTS, attach, engine_for
from tunesmith.config.methods import LoraSettings, PTuningSettings
from tunesmith.engine.forward import prepare_
from tunesmith.methods import p_tuning, table
from tunesmith.methods.adapter import Adapter, Words, nothing
from tunesmith.training import optimizer

LR, DECAY = 0.1, 0.5


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", optimizer.KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_without_gradients_shrinks_all_that_is_trained_but_vectors(variant, name, tmp_path):
    engine = engine_for("llama", variant, tmp_path / "base")
    adapter = attach(engine, variant, tmp_path / "base")
    before = {key: p.detach().clone() for key, p in adapter.parameters.items()}
    adam = optimizer.build(adapter, lr=LR, weight_decay=DECAY, kind=name)
    optimizer.set_rate_(adam, LR)
    adam.step()
    shrunk = 0
    for key, parameter in adapter.parameters.items():
        factor = 1.0
        if key in adapter.trained and parameter.dim() > 1:
            factor, shrunk = 1 - LR * DECAY * adapter.rates.get(key, 1.0), shrunk + 1
        torch.testing.assert_close(parameter.detach(), before[key] * factor)
    assert shrunk or all(p.dim() == 1 for p in adapter.trained.values())


PEFTS = {
    "lora": (peft.LoraConfig(r=3, target_modules="all-linear"), LoraSettings(rank=3)),
    "dora": (
        peft.LoraConfig(r=3, target_modules="all-linear", use_dora=True),
        LoraSettings(rank=3, dora=True),
    ),
    "tokens": (
        peft.LoraConfig(
            r=3,
            target_modules="all-linear",
            trainable_token_indices={"embed_tokens": [3], "lm_head": [3]},
        ),
        LoraSettings(rank=3),
    ),
    "prompt": (peft.PromptTuningConfig(num_virtual_tokens=3), VARIANTS["prompt"]),
    "p-tuning": (peft.PrefixTuningConfig(num_virtual_tokens=3), VARIANTS["p-tuning"]),
    "projection": (
        peft.PrefixTuningConfig(
            num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=5
        ),
        PTuningSettings(tokens=3, projection=5),
    ),
}
MLP = {
    "embedding.weight": p_tuning.TOKENS,
    "transform.0.weight": p_tuning.W1,
    "transform.0.bias": p_tuning.B1,
    "transform.2.weight": p_tuning.W2,
    "transform.2.bias": p_tuning.B2,
}


def pefts_decay(kind):
    """Whether each tensor that PEFT trains decays in the Trainer, by the name that we give it."""
    config, _ = PEFTS[kind]
    config.task_type = "CAUSAL_LM"
    model = peft.get_peft_model(tiny_model("llama", torch.float32), config)
    names = set(Trainer.get_decay_parameter_names(None, model))
    decays = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = name.replace(".default", "").replace("vector.weight", "vector")
            part = plain.removeprefix("prompt_encoder.")
            decays[MLP[part] if kind == "projection" else plain] = name in names
    return decays


def test_the_state_lies_where_the_parameter_does():
    parameter = torch.nn.Parameter(torch.empty(8, 8, device="meta"))  # stands for a GPU's
    adapter = Adapter("a", LoraSettings(), {"p": parameter}, refresh=nothing, detach=nothing)
    made = optimizer.build(adapter, lr=1e-3, weight_decay=0.0)
    assert {tensor.device.type for tensor in made.state[parameter].values()} == {"meta"}


@pytest.mark.parametrize("kind", PEFTS)
def test_the_same_tensors_decay_as_with_peft_and_the_trainer(kind):
    engine = prepare_(tiny_model("llama", torch.float32))
    words = Words(init_text=TEXT, new_tokens={3: (3,)} if kind == "tokens" else {})
    adapter = table.attach(engine, PEFTS[kind][1], name="a", words=words)
    theirs = pefts_decay(kind)
    if kind in ("prompt", "p-tuning"):  # one tensor there
        assert set(theirs.values()) == {True}
        assert adapter.decayed == adapter.trained.keys()
        return
    assert theirs.keys() == adapter.trained.keys()
    other = {name for name in theirs if theirs[name] != (name in adapter.decayed)}
    # DoRA's magnitudes are norms of rows: towards zero they would silence the layer.
    assert other == {name for name in theirs if name.endswith("lora_magnitude_vector")}


def test_full_decays_what_the_trainer_does():
    model = tiny_model("llama", torch.float32)
    names = set(Trainer.get_decay_parameter_names(None, model))
    adapter = table.attach(prepare_(model), VARIANTS["full"])
    assert adapter.decayed == names
