"""P-Tuning v2, prefix tuning: P trained keys and values in every layer (2110.07602, 2101.00190).

The paper trains P' [P, D_in] and the MLP in place of the keys and values, and keeps only what the
MLP makes of P'. Here W2 and b2 start at zero, and what the keys and values started from is added:
so the first step sees exactly the initial state (a text's own keys and values), as without an MLP.

They are stored after rotary embedding, for positions 0..P-1 of each document, one set for each
key/value head, and leave a sliding window as tokens do. An MLP may make them while they are trained
(``reparameterized``). PEFT calls this PREFIX_TUNING.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tunesmith.config.methods import PTuningSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import counted
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.blocks import Learned
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.methods.adapter import Adapter, Words
from tunesmith.methods.virtual_tokens import KEY, drawn, start_ids, stored_count
from tunesmith.methods.virtual_tokens import differences as differences

PEFT_TYPES, terms = ("PREFIX_TUNING",), None
START, TOKENS = "projection.start", "projection.tokens"
W1, B1 = "projection.hidden.weight", "projection.hidden.bias"
W2, B2 = "projection.output.weight", "projection.output.bias"


def stacked(parts: Iterable[Tensor]) -> Tensor:
    """Keys and values of each layer, 2 L tensors [G, P, Dh] -> [P, 2 L, G, Dh], no gradient."""
    return torch.stack([part.detach().transpose(0, 1) for part in parts], 1)


def made_by(parameters: Mapping[str, Tensor]) -> Tensor:
    """The keys and values [P, 2 L, G, Dh] that an MLP makes, from its tensors by their names."""
    start = parameters[START]
    hidden = torch.tanh(linear(parameters[TOKENS], parameters[W1], parameters[B1]))  # [P, W]
    return start + linear(hidden, parameters[W2], parameters[B2]).view_as(start)


def reparameterized(adapter: Adapter, *, width: int, seed: int) -> Adapter:
    """The adapter with its parameters, 2 L keys and values [G, P, Dh], made by a trained MLP.

    Every micro-batch of a step reads the same tensors: ``refresh`` makes them, and ``gather``
    turns the sum of their gradients into the MLP's, by one backward through it.

    A step of Adam changes each product by the sum over a matrix's inputs, so that matrices learn at
    1 / inputs of the rate (2203.03466, table 3): keys and values then move about as far as they
    would by themselves, whatever the width, and the method's learning rate suits both.
    """
    leaves = list(adapter.parameters.values())
    parameters = _new(stacked(leaves), width=width, seed=seed)

    def refresh() -> None:
        with torch.no_grad():
            for leaf, made in zip(leaves, made_by(parameters).unbind(1), strict=True):
                leaf.copy_(made.transpose(0, 1))
                leaf.grad = None
        adapter.refresh()

    def gather() -> None:
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        if not gradients:
            return
        for leaf in leaves:
            leaf.grad = None
        made_by(parameters).backward(stacked(gradients))  # type: ignore[no-untyped-call]

    refresh()
    return replace(
        adapter,
        parameters=parameters,
        refresh=refresh,
        gather=gather,
        rates={key: 1 / parameters[key].shape[1] for key in (W1, W2)},
    )


def _new(start: Tensor, *, width: int, seed: int) -> dict[str, nn.Parameter]:
    """An MLP of hidden width W beside ``start`` [P, 2 L, G, Dh], which is kept and not trained.

    P' is as wide as a layer's keys (D_in = G Dh) and, like the hidden layer, drawn as in PEFT.
    """
    _, parts, heads, head_width = start.shape
    inputs, outputs = heads * head_width, parts * heads * head_width
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(inputs)

    def uniform(*shape: int) -> Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1) * bound

    tensors = {
        TOKENS: torch.randn(len(start), inputs, generator=generator),
        W1: uniform(width, inputs),
        B1: uniform(width),
        W2: torch.zeros(outputs, width),
        B2: torch.zeros(outputs),
    }
    trained = {name: nn.Parameter(tensor.to(start)) for name, tensor in tensors.items()}
    return {START: nn.Parameter(start, requires_grad=False), **trained}


def check(engine: Engine, _: PTuningSettings) -> None:
    """Raise ConfigError for a base with layers that do not begin with keys and values."""
    if engine.states:
        raise ConfigError(
            "Method p-tuning trains keys and values for every layer, and this base has "
            f"{_keyless(engine)}.",
            remedy="Use method lora, or prompt, whose virtual tokens pass through every layer.",
        )


def _keyless(engine: Engine) -> str:
    """Which layers of the base have a recurrent state."""
    total, layers = engine.model.config.num_hidden_layers, counted(map(str, engine.states))
    return f"a recurrent state instead in {len(engine.states)} of {total} layers ({layers})"


def attach(
    engine: Engine, settings: PTuningSettings, *, name: str, seed: int, words: Words
) -> Adapter:
    """Put P new keys and values in front of the adapter's documents, in every layer."""
    check(engine, settings)
    starts = _start(engine, settings, seed=seed, words=words)
    keys = [nn.Parameter(k) for k, _ in starts]
    values = [nn.Parameter(v) for _, v in starts]
    block = Learned(keys, values)
    parameters = {
        f"layers.{layer}.{part}": tensors[layer]
        for layer in range(len(keys))
        for part, tensors in (("keys", keys), ("values", values))
    }
    engine.prefixes[name] = block
    detach = partial(engine.prefixes.pop, name, None)
    adapter = Adapter(name, settings, parameters, detach, block.refresh)
    if settings.projection is None:
        return adapter
    return reparameterized(adapter, width=settings.projection, seed=seed)


@torch.no_grad()
def _start(
    engine: Engine, settings: PTuningSettings, *, seed: int, words: Words
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values [G, P, Dh] of each layer: those that the base computes for the start."""
    ids = start_ids(engine, settings, seed=seed, words=words)
    cache = engine.cache(1, len(ids))
    batch = pack([Row(ids, [0.0] * len(ids))])
    documents = tuple(replace(document, keep=(cache, 0)) for document in batch.documents)
    stream: PackedBatch = replace(batch, documents=documents)
    engine.hidden_states(stream.to(engine.device))
    pairs = [(k[0].float(), v[0].float()) for k, v in zip(cache.keys, cache.values, strict=True)]
    if settings.init != "random":
        return pairs
    generator = torch.Generator().manual_seed(seed)
    return [(drawn(k, generator), drawn(v, generator)) for k, v in pairs]


def _keys_and_values(adapter: Adapter) -> Tensor:
    """[P, 2 L, G, Dh]: of each layer the keys, then the values; what an MLP makes, if there is."""
    if START in adapter.parameters:
        return made_by(adapter.parameters).detach()
    return stacked(adapter.parameters.values())


def write(adapter: Adapter) -> dict[str, Tensor]:
    """PEFT's one tensor [P, L 2 G Dh], head by head."""
    return {KEY: _keys_and_values(adapter).flatten(1).contiguous()}


def read(tensors: Mapping[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """PEFT's tensor by the names of the parameters."""
    like = next(iter(adapter.parameters.values()))
    heads, count, width = like.shape
    parts = tensors[KEY].view(count, len(adapter.parameters), heads, width).unbind(1)
    return {
        name: part.transpose(0, 1) for name, part in zip(adapter.parameters, parts, strict=True)
    }


def to_peft(adapter: Adapter, engine: Engine) -> dict[str, object]:
    """The prefix-tuning part of adapter_config.json; heads are the key/value heads, as in PEFT."""
    count, _, heads, width = _keys_and_values(adapter).shape
    return {
        "peft_type": "PREFIX_TUNING",
        "num_virtual_tokens": count,
        "token_dim": heads * width,
        "num_layers": engine.model.config.num_hidden_layers,
        "num_attention_heads": heads,
        "num_transformer_submodules": 1,
        "encoder_hidden_size": heads * width,
        "prefix_projection": False,
    }


def from_peft(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> PTuningSettings:
    """Settings that attach a prefix of these tensors; AdapterError for anything else."""
    return PTuningSettings(
        tokens=stored_count(config, tensors, "prefix", "[P, L 2 G Dh]"), init="random"
    )


def misfits(engine: Engine, tensors: Mapping[str, Tensor]) -> list[str]:
    """What of a prefix does not fit the base."""
    if engine.states:
        return [f"a prefix has keys and values for every layer, this base {_keyless(engine)}"]
    shape, cache = list(tensors[KEY].shape), engine.cache(1, 1)
    layers, (_, heads, _, width) = len(cache.keys), cache.keys[0].shape
    if shape[1] == layers * 2 * heads * width:
        return []
    return [
        f"{KEY} is {shape}, the base has {pluralize(layers, 'layer')} of "
        f"{pluralize(heads, 'key/value head')} of {width} "
        f"({layers * 2 * heads * width} numbers a virtual token)"
    ]
