"""Answers on a pretended accelerator: a step of all rows waits once, for their tokens."""

import pytest
import torch

from tests.accelerator import META, Accelerator, four_bit_meta_, meta_model
from tests.training.test_accelerator import NEW_TOKENS
from tunesmith.config import LoraSettings
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.engine.forward import prepare_
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.sampling import Sampling
from tunesmith.methods import table
from tunesmith.methods.adapter import Words
from tunesmith.models.four_bit import FourBit

STEPS = 5
METHODS = {
    "a": (LoraSettings(rank=2), Words()),
    "b": (PromptSettings(tokens=3), Words()),
    "c": (PTuningSettings(tokens=2), Words()),
    "d": (LoraSettings(rank=2, new_tokens=["x", "y", "z"]), Words(new_tokens=NEW_TOKENS)),
}


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize(
    ("family", "four_bit"), [("llama", False), ("gemma2", False), ("qwen3", True)]
)
def test_a_step_waits_once_for_the_tokens_of_all_rows(family, four_bit, temperature):
    model = meta_model(family)
    engine = prepare_(four_bit_meta_(model) if four_bit else model, torch.bfloat16)
    with Accelerator():
        for name, (settings, words) in METHODS.items():
            table.attach(engine, settings, name=name, seed=0, words=words)
    prompts = [Prompt((5, 6, 7, 8), adapter) for adapter in (None, *METHODS, *METHODS)]
    sampling = Sampling(temperature, top_p=0.9, max_new_tokens=STEPS)
    with Accelerator() as accelerator:
        answers = list(generate(engine, prompts, stop_ids=frozenset(), sampling=sampling))
    assert [len(answer.ids) for answer in answers] == [STEPS] * len(prompts)
    (place,), (count,) = zip(*accelerator.waits.items(), strict=True)
    assert place.startswith(f"{META} to cpu: sampling.py")
    assert count == STEPS


def test_a_step_over_codes_waits_once_too(monkeypatch):
    monkeypatch.setattr(FourBit, "has_product", lambda self, x: True)
    test_a_step_waits_once_for_the_tokens_of_all_rows("qwen3", True, 0.0)
