"""P-Tuning v2, prefix tuning: P trained keys and values in every layer (2110.07602, 2101.00190).

The paper trains P' [P, D_in] and the MLP in place of the keys and values, and keeps only what the
MLP makes of P'. Here W2 and b2 start at zero, and what the keys and values started from is added:
so the first step sees exactly the initial state (a text's own keys and values), as without an MLP.

They are stored after rotary embedding, for positions 0..P-1 of each document, one set for each
key/value head, and leave a sliding window as tokens do. An MLP may make them while they are trained
(``reparameterized``). PEFT calls this PREFIX_TUNING. In shapes, L counts the layers with keys of
their own, and G and Dh are the largest: what a layer lacks of them is zeros, as in PEFT.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from tunesmith.config.methods import PTuningSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import counted
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.blocks import Learned
from tunesmith.engine.families import LayerKeys, layer_keys
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
    rows = [part.detach().transpose(0, 1) for part in parts]
    heads, width = (max(row.shape[axis] for row in rows) for axis in (1, 2))
    sides = [(0, width - row.shape[2], 0, heads - row.shape[1]) for row in rows]
    return torch.stack([pad(row, side) for row, side in zip(rows, sides, strict=True)], 1)


def split(stack: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """[P, 2 L, G, Dh] -> 2 L tensors in the shapes of ``like``; layers beyond them are unused."""
    parts = stack.transpose(0, 2).unbind(1)  # [G, P, Dh] each
    return [p[: len(t), :, : t.shape[2]] for p, t in zip(parts, like, strict=False)]


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
            for leaf, made in zip(leaves, split(made_by(parameters), leaves), strict=True):
                leaf.copy_(made)
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
        leaves=leaves,
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
    """Raise ConfigError for a base with layers whose keys and values have no room in a prefix."""
    if engine.states:
        raise ConfigError(
            "Method p-tuning trains keys and values for every layer, and this base has "
            f"{_keyless(engine)}.",
            remedy="Use method lora, or prompt, whose virtual tokens pass through every layer.",
        )
    _own_layers(engine)


def _keyless(engine: Engine) -> str:
    """Which layers of the base have a recurrent state."""
    total = pluralize(engine.config.num_hidden_layers, "layer")
    layers = counted(map(str, engine.states))
    return f"a recurrent state instead in {len(engine.states)} of {total} ({layers})"


def attach(
    engine: Engine, settings: PTuningSettings, *, name: str, seed: int, words: Words
) -> Adapter:
    """Put P new keys and values in front of the adapter's documents, in every layer."""
    check(engine, settings)
    starts = _start(engine, settings, seed=seed, words=words)
    own = {layer: (nn.Parameter(k), nn.Parameter(v)) for layer, (k, v) in starts.items()}
    seen = [own[each.source] for each in layer_keys(engine.config)]
    block = Learned([keys for keys, _ in seen], [values for _, values in seen])
    parameters = {
        f"layers.{layer}.{part}": tensor
        for layer, pair in own.items()
        for part, tensor in zip(("keys", "values"), pair, strict=True)
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
) -> dict[int, tuple[Tensor, Tensor]]:
    """Keys and values [G, P, Dh] by layer: those that the base computes for the start."""
    ids = start_ids(engine, settings, seed=seed, words=words)
    cache = engine.cache(1, len(ids))
    batch = pack([Row(ids, [0.0] * len(ids))])
    documents = tuple(replace(document, keep=(cache, 0)) for document in batch.documents)
    stream: PackedBatch = replace(batch, documents=documents)
    engine.hidden_states(stream.to(engine.device))
    pairs = {
        layer: (cache.keys[layer][0].float(), cache.values[layer][0].float())
        for layer in _own_layers(engine)
    }
    if settings.init != "random":
        return pairs
    generator = torch.Generator().manual_seed(seed)
    return {at: (drawn(k, generator), drawn(v, generator)) for at, (k, v) in pairs.items()}


def _own_layers(engine: Engine) -> dict[int, LayerKeys]:
    """The layers with keys of their own, with the shape of these.

    Raises ConfigError where PEFT's format has no room for some: it is as the widest layers are.
    """
    own = {i: each for i, each in enumerate(layer_keys(engine.config)) if each.source == i}
    widest = max(own.values(), key=lambda each: each.width)
    if lost := [each for each in own.values() if each.heads > widest.heads]:
        raise ConfigError(
            f"p-tuning does not fit this base: {len(lost)} of its {pluralize(len(own), 'layer')} "
            f"have {pluralize(lost[0].heads, 'key/value head')}, more than its widest layers, "
            f"which have {widest.heads}. An adapter's file has no room for them.",
            remedy="Use method prompt or lora.",
        )
    return own


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
    like = list(adapter.parameters.values())
    heads, width = (max(tensor.shape[axis] for tensor in like) for axis in (0, 2))
    stack = tensors[KEY].view(like[0].shape[1], -1, heads, width)
    return dict(zip(adapter.parameters, split(stack, like), strict=True))


def to_peft(adapter: Adapter, _: Engine) -> dict[str, object]:
    """The prefix-tuning part of adapter_config.json; heads are the key/value heads, as in PEFT."""
    count, parts, heads, width = _keys_and_values(adapter).shape
    return {
        "peft_type": "PREFIX_TUNING",
        "num_virtual_tokens": count,
        "token_dim": heads * width,
        "num_layers": parts // 2,
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
    shape, own = list(tensors[KEY].shape), _own_layers(engine).values()
    heads, width = max(each.heads for each in own), max(each.width for each in own)
    # PEFT also stores what the layers without keys of their own would have
    if shape[1] in {n * 2 * heads * width for n in (len(own), engine.config.num_hidden_layers)}:
        return []
    return [
        f"{KEY} is {shape}, the base has {pluralize(len(own), 'layer')} of "
        f"{pluralize(heads, 'key/value head')} of {width} "
        f"({len(own) * 2 * heads * width} numbers a virtual token)"
    ]
