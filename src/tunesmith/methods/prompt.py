"""Prompt tuning: P virtual token embeddings in front of every document (arXiv 2104.08691).

Stored is the output of the embedding module, as in PEFT, so that families that scale inside it
(gemma) or after it (granite) agree. A prompt of a text's tokens equals that text in front. PEFT's
P_TUNING (arXiv 2103.10385) makes such vectors by an LSTM or MLP and saves only them: it is read.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from tunesmith.config.methods import PromptSettings
from tunesmith.engine.blocks import Virtual
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.methods.adapter import Adapter, Words
from tunesmith.methods.peft import plain_read, plain_write
from tunesmith.methods.virtual_tokens import KEY, drawn, start_ids, stored_count
from tunesmith.methods.virtual_tokens import differences as differences

PEFT_TYPES = ("PROMPT_TUNING", "P_TUNING")
read, write, terms = plain_read, plain_write, None


def attach(
    engine: Engine, settings: PromptSettings, *, name: str, seed: int, words: Words
) -> Adapter:
    """Put P new virtual tokens in front of the adapter's documents."""
    vectors = nn.Parameter(_start(engine, settings, seed=seed, words=words))
    engine.prefixes[name] = Virtual(vectors)
    return Adapter(name, settings, {KEY: vectors}, partial(engine.prefixes.pop, name, None))


def _start(engine: Engine, settings: PromptSettings, *, seed: int, words: Words) -> Tensor:
    ids = start_ids(engine, settings, seed=seed, words=words)
    with torch.no_grad():
        batch = pack([Row(ids, [0.0] * len(ids))]).to(engine.device)
        vectors = engine.embed(batch).float()
    if settings.init != "random":
        return vectors
    return drawn(vectors, torch.Generator().manual_seed(seed))


def to_peft(adapter: Adapter, engine: Engine) -> dict[str, object]:
    """The prompt-tuning part of adapter_config.json."""
    config = engine.config
    return {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": len(adapter.parameters[KEY]),
        "token_dim": config.hidden_size,
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "tokenizer_name_or_path": None,
    }


def from_peft(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> PromptSettings:
    """Settings that attach a prompt of these tensors; AdapterError for anything else."""
    return PromptSettings(
        tokens=stored_count(config, tensors, "soft prompt", "[P, D]"), init="random"
    )


def misfits(engine: Engine, tensors: Mapping[str, Tensor]) -> list[str]:
    """What of a soft prompt does not fit the base."""
    width, shape = engine.config.hidden_size, list(tensors[KEY].shape)
    return [] if shape[1] == width else [f"{KEY} is {shape}, the base's width is {width}"]
