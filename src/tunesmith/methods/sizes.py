"""What a method trains over a base of some shape, counted without the base and without torch.

A test holds the counts equal to those of the adapters that the methods attach.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.config.methods import (
    DEFAULT_VIRTUAL_TOKENS,
    TAKEN_STARTS,
    AnyMethod,
    FullSettings,
    IA3Settings,
    LoraSettings,
    PromptSettings,
    PTuningSettings,
    VirtualTokenSettings,
)
from tunesmith.core.errors import ConfigError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.shape import DecoderShape, LinearShape, ModelShape
from tunesmith.methods.targets import matches, targeted, targeted_parameters

FEEDFORWARD = "down_proj"  # whose inputs IA3 scales where settings do not say


@dataclass(frozen=True, slots=True)
class SeamSize:
    """What is beside one linear layer or stack: rank R (R' with an offset) and what is kept.

    ``keeps_input``: x for backward; ``keeps_output``: y, which a trained vector scales.
    """

    linear: LinearShape
    rank: int = 0
    keeps_input: bool = False
    keeps_output: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSize:
    """Numbers that a method trains, that it stores, and what its computation keeps.

    ``held`` are fp32 numbers beside the trained ones; ``copies`` those of their copies in the
    base's format. ``rows``: virtual tokens in the stream, before each adapter's documents;
    ``prefix``: learned positions before them. ``deepest``: from the first layer on.
    """

    trained: int
    stored: int
    stored_bytes: int  # of one number
    held: int = 0
    copies: int = 0
    seams: Mapping[str, SeamSize] = field(default_factory=dict)
    rows: int = 0
    prefix: int = 0
    trains_base: bool = False


def trained_size(settings: AnyMethod, shape: ModelShape) -> TrainedSize:
    """What the method of these settings trains; ConfigError where the base does not allow it."""
    key = shape, f"{type(settings).__name__} {settings.model_dump_json()}"
    if key not in _sizes:
        _sizes[key] = _size(settings, shape)
    return _sizes[key]


_sizes: dict[tuple[ModelShape, str], TrainedSize] = {}


@functools.singledispatch
def _size(settings: object, shape: ModelShape) -> TrainedSize:  # noqa: ARG001
    raise TypeError(f"no method has settings of {type(settings).__name__}")


@_size.register
def _(settings: FullSettings, shape: ModelShape) -> TrainedSize:  # noqa: ARG001
    if shape.four_bit:
        raise ConfigError(
            "The base's weights are 4-bit, which cannot be trained themselves.",
            remedy="Use method qlora, or the 16-bit base.",
        )
    every = [*shape.named_linears(), *shape.named_experts()]
    seams = {name: SeamSize(each, keeps_input=True) for name, each in every}
    return TrainedSize(
        shape.parameters, shape.parameters, stored_bytes=2, seams=seams, trains_base=True
    )


def rank_of(settings: LoraSettings, name: str) -> int:
    """The rank beside a layer of this name: that of the last pattern which matches it."""
    hits = [rank for pattern, rank in settings.rank_pattern.items() if matches(name, pattern)]
    return hits[-1] if hits else settings.rank


@_size.register
def _(settings: LoraSettings, shape: ModelShape) -> TrainedSize:
    linears, stacks = dict(shape.named_linears()), dict(shape.named_experts())
    chosen = targeted(settings.targets, list(linears), method="LoRA", parameters=list(stacks))
    chosen += targeted_parameters(settings.target_parameters, list(stacks), method="LoRA")
    trained = held = copies = 0
    seams = {}
    has_offset = settings.init in TAKEN_STARTS - {"loftq"}
    for name in chosen:
        linear = linears.get(name) or stacks[name]
        rank = rank_of(settings, name)
        a, b = (linear.count * rank * width for width in (linear.inputs, linear.outputs))
        trained += b + (0 if settings.freeze_a else a) + linear.outputs * settings.dora
        held += (a if settings.freeze_a else 0) + (a + b) * has_offset
        copies += (a + b) * (1 + has_offset)
        seams[name] = SeamSize(
            linear,
            rank=rank * (1 + has_offset),
            keeps_input=not settings.freeze_a,
            keeps_output=settings.dora,
        )
    rows = len(settings.new_tokens) * shape.width * (1 if shape.tied else 2)
    # Both factors, of twice the rank where what the base gave away is written beside them.
    stored = rows + sum(
        s.rank * s.linear.count * (s.linear.inputs + s.linear.outputs)
        + s.linear.outputs * settings.dora
        for s in seams.values()
    )
    return TrainedSize(
        trained + rows, stored, _bytes_of(settings.dtype), held, copies + rows, seams
    )


def _bytes_of(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


@_size.register
def _(settings: IA3Settings, shape: ModelShape) -> TrainedSize:
    linears = dict(shape.named_linears())
    chosen = targeted(settings.targets, list(linears), method="IA3")
    given = settings.feedforward
    inner = [FEEDFORWARD] if given is None else list(given)
    seams, trained = {}, 0
    for name in chosen:
        is_inner = any(matches(name, each) for each in inner)
        trained += linears[name].inputs if is_inner else linears[name].outputs
        seams[name] = SeamSize(linears[name], keeps_input=is_inner, keeps_output=not is_inner)
    return TrainedSize(trained, trained, _bytes_of(settings.dtype), seams=seams)


def virtual_tokens(settings: VirtualTokenSettings) -> int:
    """P, where settings say it, else the default (a text's own count is known with its base)."""
    return settings.tokens or DEFAULT_VIRTUAL_TOKENS


@_size.register
def _(settings: PromptSettings, shape: ModelShape) -> TrainedSize:
    count = virtual_tokens(settings)
    numbers = count * shape.width
    return TrainedSize(numbers, numbers, stored_bytes=4, rows=count)


@_size.register
def _(settings: PTuningSettings, shape: ModelShape) -> TrainedSize:
    if recurrent := sum(layer.state > 0 for layer in shape.layers):
        raise ConfigError(
            "A prefix has keys and values for every layer, and this base has a recurrent state "
            f"instead in {recurrent} of {pluralize(len(shape.layers), 'layer')}.",
            remedy="Use method lora, or prompt, whose virtual tokens pass through every layer.",
        )
    count = virtual_tokens(settings)
    keys = [layer for layer in shape.layers if layer.own_keys]
    numbers = count * sum(layer.key_numbers for layer in keys)
    stored = count * 2 * len(keys) * _widest(shape)
    if settings.projection is None:
        return TrainedSize(numbers, stored, 4, copies=numbers, prefix=count)
    inner, inputs, outputs = settings.projection, _widest(shape), 2 * len(keys) * _widest(shape)
    trained = count * inputs + (inputs + 1) * inner + (inner + 1) * outputs
    return TrainedSize(trained, stored, 4, held=stored + numbers, copies=numbers, prefix=count)


def _widest(shape: ModelShape) -> int:
    """G Dh, of the largest G and the largest Dh."""
    layers = shape.layers
    return max(each.key_heads for each in layers) * max(each.head_width for each in layers)


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """``count`` layers of one shape, with the same beside their linear layers and experts."""

    count: int
    layer: DecoderShape
    seams: tuple[SeamSize, ...]


@functools.lru_cache(maxsize=256)
def layer_groups(shape: ModelShape, size: TrainedSize) -> tuple[LayerGroup, ...]:
    """The layers of a base by what they are, so that hundreds of equal ones are computed once."""
    found: dict[tuple[DecoderShape, tuple[SeamSize, ...]], int] = {}
    for index, layer in enumerate(shape.layers):
        names = (f"model.layers.{index}.{x.name}" for x in (*layer.linears, *layer.experts))
        key = layer, tuple(size.seams[name] for name in names if name in size.seams)
        found[key] = found.get(key, 0) + 1
    return tuple(LayerGroup(count, *key) for key, count in found.items())


# Tokens of a micro-batch where memory sets no limit, on a processor: larger ones measured no
# faster. Where the base itself is trained its states fill the memory, and activations are kept
# small beside them.
AUTO_TOKENS, AUTO_TOKENS_WHOLE_BASE = 1792, 384


def auto_tokens(of_step: int, *, device: str, frozen_base: bool) -> int:
    """Tokens of a micro-batch for a step of so many: all of them on an accelerator."""
    if device != "cpu":
        return of_step
    return min(of_step, AUTO_TOKENS if frozen_base else AUTO_TOKENS_WHOLE_BASE)
