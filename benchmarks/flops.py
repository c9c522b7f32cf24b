"""How many floating-point operations does an optimizer step need? Counted from shapes.

Needed, not executed: a beginning that all documents of a step share counts once, rows without a
label are not scored, and nothing is computed again in backward. A product [m, k] x [k, n] counts
2 m k n; norms, rotary embedding, softmax, activations and the optimizer are left out.

T tokens of the stream, D width, F inner width, H heads, G key/value heads, Dh head width,
L layers, V vocabulary, M labelled rows, R rank.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from benchmarks.workload import Encoded

Method = Literal["lora", "full"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the count needs to know of a base; ``windows`` has one entry a layer, None: no limit."""

    width: int
    inner: int
    heads: int
    groups: int
    head_width: int
    vocabulary: int
    windows: tuple[int | None, ...]

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """(D_in, D_out) of a layer's linear layers: q, k, v, o, gate, up, down."""
        q, kv = self.heads * self.head_width, self.groups * self.head_width
        d, f = self.width, self.inner
        return (d, q), (d, kv), (d, kv), (q, d), (d, f), (d, f), (f, d)

    @property
    def body(self) -> int:
        """Weights of all linear layers, head and embedding not among them."""
        return len(self.windows) * sum(i * o for i, o in self.linears)


def read_shape(model: Path) -> Shape:
    """The shape that a model folder's config.json describes."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    layers = config["num_hidden_layers"]
    kinds = config.get("layer_types") or ["full_attention"] * layers
    return Shape(
        width=config["hidden_size"],
        inner=config["intermediate_size"],
        heads=heads,
        groups=config["num_key_value_heads"],
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        windows=tuple(
            config["sliding_window"] if kind == "sliding_attention" else None for kind in kinds
        ),
    )


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Operations of one step, forward and backward, by what they are spent on."""

    linears: int
    lora: int
    attention: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))


def step_flops(
    shape: Shape, documents: Sequence[Encoded], method: Method, *, rank: int = 16
) -> StepFlops:
    """The operations that training on these documents needs.

    linears    2 T N forward and 2 T N for the gradient of the input, N the body's weights; `full`
               adds 2 T N for the weights'. The first layer's q, k and v need no gradient of their
               input where the embedding is frozen.
    lora       6 T R (D_in + D_out) a linear layer: forward, gradients of inputs, of A and of B;
               the first layer's q, k and v need no gradient of their input here either.
    attention  2 products of 2 H Dh pairs forward and 4 backward, pairs counted under causality
               and window.
    head       2 M V D forward and 2 M V D for the hidden states; `full` adds 2 M V D for the
               weight.
    """
    shared = shared_tokens(documents)
    lengths = [len(document.ids) - shared for document in documents]
    tokens = shared + sum(lengths)
    labelled = sum(sum(document.supervised[1:]) for document in documents)
    first = shape.linears[:3]
    full = method == "full"
    linears = (6 if full else 4) * tokens * shape.body
    lora = 0
    if not full:
        linears -= 2 * tokens * sum(i * o for i, o in first)
        widths = len(shape.windows) * sum(i + o for i, o in shape.linears)
        lora = rank * tokens * (6 * widths - 2 * sum(i for i, _ in first))
    pairs = sum(
        _pairs(0, shared, window) + sum(_pairs(shared, n, window) for n in lengths)
        for window in shape.windows
    )
    return StepFlops(
        linears=linears,
        lora=lora,
        attention=12 * shape.heads * shape.head_width * pairs,
        head=(6 if full else 4) * labelled * shape.vocabulary * shape.width,
    )


def shared_tokens(documents: Sequence[Encoded]) -> int:
    """Tokens with which all documents begin; each keeps at least one of its own."""
    if len(documents) < 2:
        return 0
    columns = zip(*(document.ids[:-1] for document in documents), strict=False)
    same = 0
    for column in columns:
        if len(set(column)) > 1:
            break
        same += 1
    return same


def _pairs(before: int, own: int, window: int | None) -> int:
    """Query-key pairs of ``own`` rows that stand behind ``before`` others."""
    positions = range(before + 1, before + own + 1)
    return sum(positions) if window is None else sum(min(n, window) for n in positions)
