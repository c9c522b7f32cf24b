"""How long a step of training takes, part by part, from a base's shape and a device's rates.

Each part is its operations over the rate of the device for matrices of that size, its bytes over
the memory's bandwidth, or its passes over activations; what a device is not measured for is taken
from its datasheet, of which training reaches ``REACHED``. How near this is: docs/plan.md.
"""

import math
from dataclasses import dataclass, fields

from tunesmith.engine.shape import DecoderShape, LinearShape, ModelShape
from tunesmith.estimate.devices import Device
from tunesmith.estimate.memory import AHEAD, CODE, MASTER, Setup, attention_pairs
from tunesmith.methods.sizes import TrainedSize, layer_groups

REACHED = 0.45  # of a datasheet's rate: assumed, as no card was measured (docs/plan.md)
# Numbers that are read or written in all passes over activations of a layer, forward and backward,
# by number of the stream (D), of a gated unit (F) and of the scores of attention: counted in
# `engine/fused.py` and `engine/attention.py`.
NORM_PASSES, UNIT_PASSES, SCORE_PASSES, HEAD_PASSES = 14.0, 7.0, 5.0, 7.0
# On a processor those over the head's scores, which are wide and with exponentials, and those over
# an 8-bit optimizer's states, which are unpacked and packed, take as long as so many
# (`benchmarks.plan_accuracy --seconds`).
WIDE_HEAD_PASSES, PACKED_PASSES = 24.0, 22.0
OPERATIONS = 200  # started for each layer and micro-batch, forward and backward (docs/gpu.md)
OPTIMIZER_BYTES = 20  # read and written of a trained weight beside its state: value, gradient


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of each part of a step; ``total`` of them all."""

    base: float
    terms: float
    attention: float
    head: float
    passes: float
    dequantizing: float
    starting: float
    optimizer: float
    gathering: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.to_json().values())

    def to_json(self) -> dict[str, float]:
        """The parts by name."""
        return {each.name: float(getattr(self, each.name)) for each in fields(self)}


def step_seconds(
    shape: ModelShape, size: TrainedSize, setup: Setup, device: Device, *, tokens: int
) -> Seconds | None:
    """A step of ``tokens`` in micro-batches of ``setup.tokens``; None for a device without rates.

    Ranks share the step's tokens evenly.
    """
    if not device.rates:
        return None
    tokens = math.ceil(tokens / setup.ranks)
    batches = max(1, math.ceil(tokens / setup.tokens))
    virtual = 1 + batches * size.rows / tokens
    work = _Work(shape, size, setup, device, round(tokens * virtual), batches)
    return Seconds(
        base=work.base(),
        terms=work.terms(),
        attention=work.attention(),
        head=work.head(),
        passes=work.passes(),
        dequantizing=work.dequantizing(),
        starting=batches * OPERATIONS * len(shape.layers) * device.kernel_seconds,
        optimizer=work.optimizer(),
        gathering=work.gathering(),
    )


def rate_of(device: Device, dtype: str, side: float) -> float:
    """Operations a second of products with matrices of this side (the geometric mean of theirs).

    Between what was measured it is interpolated over the side's logarithm.
    """
    curve = device.curves.get(dtype)
    if curve is None:
        return REACHED * device.rates.get(dtype, device.rates.get("float32", 1.0))
    sides, rates = zip(*curve, strict=True)
    if side <= sides[0]:
        return float(rates[0])
    for i in range(1, len(sides)):
        if side <= sides[i]:
            share = math.log(side / sides[i - 1]) / math.log(sides[i] / sides[i - 1])
            return float(rates[i - 1] + share * (rates[i] - rates[i - 1]))
    return float(rates[-1])


@dataclass(frozen=True, slots=True)
class _Work:
    """One step on one device: its tokens, virtual ones included, in so many micro-batches."""

    shape: ModelShape
    size: TrainedSize
    setup: Setup
    device: Device
    tokens: int
    batches: int

    @property
    def times(self) -> int:
        """Products with each weight: forward, the input's gradient, the weight's own where it is
        trained, and forward again where layers are recomputed.
        """
        again = self.setup.recompute == "layers"
        return 2 + self.size.trains_base + again

    def product(self, linear: LinearShape, times: float, *, rank: int = 0) -> float:
        """Seconds of so many products, at least those in which the weight is read."""
        rows, (inputs, outputs) = self.tokens * linear.used, (linear.inputs, linear.outputs)
        if rank:
            operations = 2.0 * rows * rank * (inputs + outputs)
            rate = rate_of(self.device, self.setup.dtype, math.sqrt(rank * inputs))
            return times * operations / rate
        operations = 2.0 * rows * inputs * outputs
        rate = rate_of(self.device, self.setup.dtype, math.sqrt(inputs * outputs))
        read = self.batches * linear.weights * self.setup.bytes / (self.device.bandwidth or 1e12)
        return times * max(operations / rate, read)

    def base(self) -> float:
        """2 T W for each product with a weight W (arXiv 2001.08361, section 2.1)."""
        found = sum(self.product(linear, self.times) for linear in self.shape.outer)
        for group in layer_groups(self.shape, self.size):
            every = (*group.layer.linears, *group.layer.experts)
            found += group.count * sum(self.product(each, self.times) for each in every)
        return found

    def terms(self) -> float:
        """Of LoRA: A x, B (A x), and the gradients of x, A and B: 6 T R (D_in + D_out)."""
        again = self.setup.recompute == "layers"
        return sum(
            group.count * self.product(seam.linear, 3 + again, rank=seam.rank)
            for group in layer_groups(self.shape, self.size)
            for seam in group.seams
            if seam.rank
        )

    def attention(self) -> float:
        """q k and p v forward, four products backward and q k again, of H Dh for each pair; and
        passes over the scores.
        """
        found = 0.0
        times = 7 + 2 * (self.setup.recompute == "layers")
        for group in layer_groups(self.shape, self.size):
            layer, prefix = group.layer, self.size.prefix + self.size.rows
            share = group.count * self.tokens / self.setup.tokens
            pairs = share * attention_pairs(layer, self.setup, prefix=prefix)
            side = math.sqrt(max(1, layer.head_width) * min(BLOCK, self.setup.document))
            operations = times * 2 * pairs * layer.heads * layer.head_width
            found += operations / rate_of(self.device, self.setup.dtype, side)
            found += self.passed(SCORE_PASSES * pairs * layer.heads)
        return found

    def head(self) -> float:
        """Scores and the rows' gradient, 2 M V D each, and the weight's own where it is trained."""
        rows = self.tokens * self.setup.supervised
        linear = LinearShape("head", self.shape.width, self.shape.vocabulary)
        operations = 2.0 * rows * linear.weights * (2 + self.size.trains_base)
        rate = rate_of(self.device, self.setup.dtype, math.sqrt(linear.weights))
        passes = WIDE_HEAD_PASSES if self.is_measured else HEAD_PASSES
        return operations / rate + self.passed(passes * rows * self.shape.vocabulary)

    def passes(self) -> float:
        """Norms, gated units, residual sums and rotary factors."""
        groups = layer_groups(self.shape, self.size)
        return self.passed(sum(group.count * self._of_layer(group.layer) for group in groups))

    def _of_layer(self, layer: DecoderShape) -> float:
        experts = sum(each.used * each.inputs for each in layer.experts if each.count > 1)
        inner = layer.gates * layer.inner + experts
        heads = (layer.heads + 2 * layer.key_heads) * layer.head_width
        numbers = NORM_PASSES * (layer.norms * self.shape.width + heads) / 2 + UNIT_PASSES * inner
        return self.tokens * numbers * (1 + 0.4 * (self.setup.recompute != "none"))

    @property
    def is_measured(self) -> bool:
        """Whether passes were timed on this processor."""
        return self.device.elementwise is not None and self.device.kind == "cpu"

    def passed(self, numbers: float) -> float:
        """Seconds of passes over so many numbers."""
        if self.device.elementwise is not None:
            return numbers / self.device.elementwise
        return numbers * self.setup.bytes / (self.device.bandwidth or 1e12)

    def dequantizing(self) -> float:
        """Each 4-bit weight made dense in forward and again in backward, in every micro-batch."""
        if not (self.setup.four_bit or self.shape.four_bit) or self.size.trains_base:
            return 0.0
        weights = sum(count * layer.matrix_weights for count, layer in self.shape.kinds)
        times = self.batches * (2 + (self.setup.recompute == "layers"))
        if self.device.dequantized is not None:
            return times * weights / self.device.dequantized
        moved = CODE + self.setup.bytes
        return times * weights * moved / (self.device.bandwidth or 1e12)

    def optimizer(self) -> float:
        """Value, gradient and state of each trained weight, read and written once a step."""
        moved = OPTIMIZER_BYTES + 2 * self.setup.state_bytes
        found = self.size.trained * moved / (self.device.bandwidth or 1e12)
        if self.is_measured and self.setup.optimizer == "adamw8bit":
            found += self.passed(PACKED_PASSES * self.size.trained)
        return found

    def gathering(self) -> float:
        """Layers of a sharded base, sent to each rank in forward and backward of every micro-batch,
        and the gradients' sum; over ``LINK`` bytes a second.
        """
        if self.setup.ranks == 1:
            return 0.0
        sent = 2.0 * MASTER * self.size.trained
        if self.setup.shard:
            each = CODE if self.setup.four_bit else self.setup.bytes
            sent += AHEAD * self.batches * each * sum(n * x.parameters for n, x in self.shape.kinds)
        return sent * (self.setup.ranks - 1) / self.setup.ranks / LINK


LINK = 25e9  # bytes a second between cards: PCIe 4.0 x16 in practice; NVLink has more
BLOCK = 256
