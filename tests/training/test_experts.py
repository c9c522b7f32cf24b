"""What a mixture knows is in its experts: terms on them learn what terms on attention do not."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tunesmith.config.methods import FullSettings, LoraSettings
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "tie_word_embeddings": False,
}
PAIRS = 8  # of a key and its value, in a document
VALUES = [0.0, 1.0] * PAIRS


def answers(seed):
    """A value for each of 94 keys, at random."""
    values = 3 + torch.randperm(94, generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.arange(3), values])


def documents(table_, seed, adapter, count=16):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        keys = torch.randint(3, 97, (PAIRS,), generator=generator)
        ids = torch.stack([keys, table_[keys]], 1).flatten().tolist()
        made.append(Row(ids, VALUES, adapter=adapter, key=number))
    return made


def loss_after(engine, adapter, table_, *, steps, lr):
    """Of held-out documents, in nats for a value."""
    optimizer = torch.optim.AdamW(list(adapter.trained.values()), lr=lr, weight_decay=0.0)
    name = adapter.name if adapter.frozen_base else None
    for step in range(steps):
        batch = pack(documents(table_, step, name))
        optimizer.zero_grad()
        states = engine.hidden_states(batch)
        loss_sum(states, batch, engine.head, count=len(batch.labels)).backward()
        optimizer.step()
        adapter.refresh()
    with torch.no_grad():
        batch = pack(documents(table_, 10**6, name, count=32))
        return float(loss_sum(engine.hidden_states(batch), batch, engine.head)) / len(batch.labels)


@pytest.mark.slow
def test_terms_on_experts_learn_new_answers_and_as_many_numbers_on_attention_do_not():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3_moe", **SHAPE))
    model.lm_head.weight.data.mul_(20)
    engine = prepare_(model)
    base = table.attach(engine, FullSettings())
    assert loss_after(engine, base, answers(0), steps=200, lr=1e-2) < 0.01
    base.detach()
    experts = ["experts.gate_up_proj", "experts.down_proj"]
    settings = {
        "attention": LoraSettings(rank=8, alpha=16),
        "experts": LoraSettings(rank=2, alpha=4, targets=[], target_parameters=experts),
    }
    losses, sizes = {}, {}
    for name, each in settings.items():
        adapter = table.attach(engine, each, name=name)
        sizes[name] = adapter.size
        losses[name] = loss_after(engine, adapter, answers(1), steps=150, lr=2e-2)
        adapter.detach()
    assert sizes["experts"] < sizes["attention"]
    assert losses["experts"] < 0.6
    assert losses["attention"] > 1.8
