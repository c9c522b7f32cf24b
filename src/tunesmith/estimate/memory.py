"""What training takes in memory, part by part, from a base's shape alone; no library of tensors.

Letters are those of the docs: T tokens of a micro-batch, n of a document, D width, F inner width,
H heads, G key heads, Dh head width, R rank, V vocabulary, M scored rows; e bytes of a number as the
base is computed. How near these are to measured peaks: docs/plan.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from tunesmith.config.run import OptimizerKind, Recompute
from tunesmith.engine.shape import DecoderShape, ModelShape
from tunesmith.methods.sizes import LayerGroup, SeamSize, TrainedSize, layer_groups

BLOCK, SCALE_BLOCK = 64, 256  # of NF4: weights that share a scale, and scales that do
# Bytes of a 4-bit weight: its code; its share of a scale (a byte), and of a scale of those.
CODE, SCALES = 0.5, 1 / BLOCK + 4 / (SCALE_BLOCK * BLOCK)
MASTER = 4  # bytes of an fp32 number: a master, or its gradient
AHEAD = 2  # whole layers at once: the one in use, and the one that is fetched meanwhile
STATE_BYTES: dict[OptimizerKind, float] = {"adamw": 8.0, "adamw8bit": 2 * (1 + 4 / 256)}
"""Bytes of the optimizer's state of a weight: two moments of 4 bytes, or of a code and a share of
a block's scale (arXiv 2110.02861); a test holds them equal to `training/optimizer.py`."""
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Setup:
    """How a base is trained: what is computed at once, in which format, where.

    ``tokens`` of a micro-batch, in documents of ``document`` tokens, of which the share
    ``supervised`` is scored. ``device``: cpu, cuda, mps or xpu. ``retained``: whether texts of the
    base are among them (train.retention). ``flash``: whether a kernel computes attention's
    probabilities again in backward (arXiv 2205.14135). ``averages``: whether the moving average of
    what is trained is kept.
    """

    tokens: int = 1792
    document: int = 256
    supervised: float = 0.5
    dtype: str = "bfloat16"
    four_bit: bool = False
    optimizer: OptimizerKind = "adamw"
    recompute: Recompute = "none"
    device: str = "cpu"
    ranks: int = 1
    shard: bool = False
    retained: bool = False
    flash: bool = False
    averages: bool = False

    @property
    def state_bytes(self) -> float:
        """Of a trained weight, beside itself and its gradient."""
        return STATE_BYTES[self.optimizer] + MASTER * self.averages

    @property
    def bytes(self) -> int:
        """Of a number in the base's format."""
        return BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of each part at the peak of a step; ``total`` of them all."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    backward: int
    head: int
    overhead: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.to_json().values())

    @property
    def fixed(self) -> int:
        """What does not depend on the micro-batch."""
        return self.weights + self.adapter + self.gradients + self.optimizer + self.overhead

    def to_json(self) -> dict[str, int]:
        """The parts by name."""
        return {each.name: int(getattr(self, each.name)) for each in fields(self)}


def memory_of(shape: ModelShape, size: TrainedSize, setup: Setup) -> Memory:
    """The peak of a training step on one device (each rank has one)."""
    setup = replace(setup, tokens=setup.tokens + size.rows)
    base = base_memory(shape, setup, trained=size.trains_base)
    kept, largest = 0, 0
    for group in layer_groups(shape, size):
        each = layer_activations(group, setup, shape.width, prefix=size.rows + size.prefix)
        kept, largest = kept + group.count * each, max(largest, each)
    return Memory(
        weights=base.of_rank(setup.ranks) if setup.shard else base.whole,
        adapter=adapter_bytes(size, setup),
        gradients=0 if size.trains_base else MASTER * size.trained,
        optimizer=0 if size.trains_base else round(setup.state_bytes * size.trained),
        activations=kept_activations(kept, largest, shape, setup),
        backward=backward_bytes(shape, size, setup),
        head=head_bytes(shape, size, setup),
        overhead=overhead_bytes(shape, setup),
    )


@dataclass(frozen=True, slots=True)
class BaseMemory:
    """Bytes of a base, with gradients and optimizer states where it is trained itself.

    ``sharded`` is what ranks hold in parts, ``replicated`` what each has, ``layer`` the largest
    layer as it is used.
    """

    sharded: int
    replicated: int
    layer: int

    @property
    def whole(self) -> int:
        """On a device that has all of it."""
        return self.sharded + self.replicated

    def of_rank(self, ranks: int) -> int:
        """On each of so many ranks: its part, and the layers that are whole while they are used."""
        return -(-self.sharded // ranks) + self.replicated + AHEAD * self.layer


def base_memory(shape: ModelShape, setup: Setup, *, trained: bool) -> BaseMemory:
    """The base's own part: e bytes a weight; 0.5 and a share of two scales for one that is 4-bit
    (arXiv 2305.14314, section 3); 8 and the optimizer's where it is trained (weight and gradient in
    fp32; with plain AdamW 16, arXiv 1910.02054, section 3.1).

    Embedding, head, norms and experts are never 4-bit.
    """
    each = 2 * MASTER + setup.state_bytes if trained else setup.bytes
    four_bit = (setup.four_bit or shape.four_bit) and not trained
    sharded = replicated = 0.0
    sizes = []
    for count, layer in shape.kinds:
        codes = layer.matrix_weights if four_bit else 0
        plain = layer.parameters - codes
        sharded += count * (plain * each + codes * CODE)
        replicated += count * codes * SCALES
        sizes.append(plain * (2 * MASTER if trained else each) + codes * CODE)
    outer = sum(linear.weights for linear in shape.outer) if four_bit else 0
    replicated += (shape.outside - outer) * each + outer * (CODE + SCALES)
    return BaseMemory(round(sharded), round(replicated), round(max(sizes)))


def adapter_bytes(size: TrainedSize, setup: Setup) -> int:
    """fp32 masters, what lies beside them, and the copies that are multiplied with."""
    if size.trains_base:
        return 0  # they are the base's weights
    copies = size.copies * setup.bytes if setup.bytes != MASTER else 0
    return MASTER * (size.trained + size.held) + copies


BLOCK_ROWS, KEEP_KEYS = 256, 512  # `engine/attention.py`


def attention_pairs(
    layer: DecoderShape, setup: Setup, *, prefix: int = 0, keys: int | None = None
) -> int:
    """Pairs of a query and a key that attention computes for T tokens, in blocks of 256 rows; with
    ``keys`` only those of blocks that see at most so many.
    """
    found = 0
    for first in range(0, setup.document * bool(layer.heads), BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, setup.document)
        low = 0 if layer.window is None else max(0, prefix + first - layer.window + 1)
        seen = prefix + last - low
        found += (last - first) * seen if keys is None or seen <= keys else 0
    return round(found * setup.tokens / setup.document)


def probabilities(layer: DecoderShape, setup: Setup, *, prefix: int = 0) -> int:
    """Numbers that attention keeps for backward: H for each pair of the blocks that see at most 512
    keys; none where a kernel computes them again, and none with a soft cap.
    """
    if setup.flash or layer.softcap or setup.recompute == "activations":
        return 0
    return layer.heads * attention_pairs(layer, setup, prefix=prefix, keys=KEEP_KEYS)


def layer_activations(group: LayerGroup, setup: Setup, width: int, *, prefix: int = 0) -> int:
    """Bytes that one layer keeps from its forward for its backward, of T tokens.

    Each norm keeps its input (D) and 1 / rms in fp32; attention q, k and v (H + 2 G) Dh, and its
    probabilities; a gated unit both its inputs (2 F). A linear layer whose adapter or weight is
    trained keeps its input: that of q, k and v once (D), that of o (H Dh), that of gate and up once
    (D), that of down (F); with R numbers for each LoRA term. `activations` computes the norms'
    outputs and the unit's again from what is kept anyway.
    """
    layer, seams = group.layer, group.seams
    d, e, t = width, setup.bytes, setup.tokens
    again = setup.recompute == "activations"
    inputs = _kept_inputs(seams)
    numbers = layer.norms * d + layer.heads * layer.head_width
    numbers += (2 if layer.own_keys else 0) * layer.key_heads * layer.head_width
    wide = layer.norms
    if layer.normed_heads:
        numbers += (layer.heads + layer.key_heads) * layer.head_width
        wide += layer.heads + layer.key_heads
    numbers += layer.gates * layer.inner
    for width, is_cheap in inputs:
        numbers += 0 if again and is_cheap else width
    numbers += sum(seam.rank * seam.linear.used for seam in seams)
    numbers += sum(seam.linear.outputs for seam in seams if seam.keeps_output)
    kept = t * (numbers * e + 4 * wide)
    kept += e * probabilities(layer, setup, prefix=prefix)
    return int(kept + _expert_activations(layer, setup) + _state_activations(layer, setup))


def _kept_inputs(seams: tuple[SeamSize, ...]) -> Iterator[tuple[int, bool]]:
    """The width of each input that is kept, once for layers that share it; and whether it is an
    output of a norm or of a gated unit.
    """
    seen = set()
    for seam in seams:
        if not seam.keeps_input or seam.linear.count > 1:
            continue
        block, _, last = seam.linear.name.rpartition(".")
        is_out = last.startswith(("o_proj", "out", "down", "linear_right", "output"))
        key = (block, seam.linear.name if is_out else "in")
        if key not in seen:
            seen.add(key)
            yield seam.linear.inputs, not last.startswith("o")


def _expert_activations(layer: DecoderShape, setup: Setup) -> float:
    """Of experts: x, W1 x of each chosen one (K 2 F), and the router's scores in fp32."""
    numbers = wide = 0.0
    for each in layer.experts:
        if each.count == 1:
            wide += 3 * each.outputs
            numbers += each.inputs
        elif each.name.endswith("gate_up_proj"):
            numbers += each.used * each.outputs
    return setup.tokens * (numbers * setup.bytes + 4 * wide)


STATE_NUMBERS = 14  # fp32 numbers a channel: of chunked rules, measured (docs/plan.md)


def _state_activations(layer: DecoderShape, setup: Setup) -> float:
    """Of a recurrence: its inputs after the convolution, and chunks in fp32."""
    if not layer.state:
        return 0.0
    return setup.tokens * layer.head_width * (3 * setup.bytes + 4 * STATE_NUMBERS)


def kept_activations(kept: int, largest: int, shape: ModelShape, setup: Setup) -> int:
    """All layers' (``kept`` bytes, of which the largest), and what lies around them: the stream
    that enters, rotary factors, the last norm. With `layers` each keeps its input only (arXiv
    1604.06174), and one is whole at a time.
    """
    d, e, t = shape.width, setup.bytes, setup.tokens
    widest = max(layer.head_width for _, layer in shape.kinds)
    around = t * (2 * d * e + 4 + 2 * widest * e)
    if setup.recompute == "layers":
        return round(around + len(shape.layers) * t * d * e + largest)
    return round(around + kept)


def backward_bytes(shape: ModelShape, size: TrainedSize, setup: Setup) -> int:
    """What backward takes at its start beside what forward kept: gradients of one layer, and one
    weight as it is multiplied with.
    """
    d, e, t = shape.width, setup.bytes, setup.tokens
    inner = max(layer.gates * layer.inner for _, layer in shape.kinds)
    experts = max(_expert_width(layer) for _, layer in shape.kinds)
    wide = max(2 * inner, 2 * experts)
    temporary = t * e * (wide + 4 * d)
    largest = max(
        (each.weights for _, layer in shape.kinds for each in (*layer.linears, *layer.experts)),
        default=0,
    )
    if size.trains_base:
        temporary += largest * (e + e + MASTER)
    elif setup.four_bit or shape.four_bit:
        temporary += largest * e
    return round(temporary)


def _expert_width(layer: DecoderShape) -> int:
    """K 2 F of a layer's experts."""
    return max(
        (each.used * each.outputs for each in layer.experts if each.name.endswith("up_proj")),
        default=0,
    )


def key_value_bytes(shape: ModelShape, positions: int, dtype: str = "bfloat16") -> int:
    """Keys and values that a cache holds of one document of so many positions: 2 G Dh for each
    layer with keys of its own, no more than its window of them, and fp32 states of the others.

    For answers and serving; a training step keeps none but its own stream's.
    """
    found = 0
    for count, layer in shape.kinds:
        seen = positions if layer.window is None else min(positions, layer.window)
        found += count * (layer.key_numbers * seen * BYTES[dtype] + 4 * layer.state)
    return found


CHUNK_SCORES, MIN_ROWS, MAX_ROWS = 2**24, 64, 256


def head_bytes(shape: ModelShape, size: TrainedSize, setup: Setup) -> int:
    """The head: scores of a chunk of rows in both formats, M rows and their gradient.

    Full scores [T, V] never exist (`engine/head.py`).
    """
    rows = max(MIN_ROWS, min(MAX_ROWS, CHUNK_SCORES // shape.vocabulary))
    scored = round(setup.tokens * setup.supervised)
    chunk = min(rows, max(1, scored)) * shape.vocabulary
    each = setup.bytes + (4 if setup.bytes != MASTER else 0)
    each += 8 * shape.softcap + 12 * setup.retained
    found = chunk * each + 2 * scored * shape.width * setup.bytes
    if size.trains_base and setup.bytes != MASTER:
        found += shape.head_weights * setup.bytes  # the master's copy that is multiplied with
    return found


# Pages of the libraries that come into use with the first step, and compiled products of 16-bit
# numbers, one for each shape (`engine/memory.py`): of experts there are many. Fitted to measured
# peaks (docs/plan.md).
LIBRARY_BYTES, KERNEL_BYTES, KERNELS, EXPERT_KERNELS = 50_000_000, 600_000, 40, 120


def overhead_bytes(shape: ModelShape, setup: Setup) -> int:
    """On a processor, of libraries and compiled products; what the process itself takes before its
    base is not in it (`machine.py`).
    """
    if setup.device != "cpu":
        return 0
    has_experts = any(layer.experts for _, layer in shape.kinds)
    kernels = EXPERT_KERNELS if has_experts else KERNELS
    return LIBRARY_BYTES + (KERNEL_BYTES * kernels if setup.bytes < MASTER else 0)
