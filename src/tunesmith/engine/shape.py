"""The shape of a base: linear layers, heads, experts, vocabulary; no library of tensors."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LinearShape:
    """A product with W [outputs, inputs], by its name within a layer or the model.

    ``count``: E matrices of a stack of experts, of which ``used`` are computed for a token.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = False
    count: int = 1
    used: int = 1

    @property
    def weights(self) -> int:
        """Numbers of W, of all of a stack."""
        return self.count * self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """With the bias."""
        return self.weights + self.count * self.outputs * self.bias

    @property
    def products(self) -> int:
        """Multiplications of one token."""
        return self.used * self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """One decoder layer: H ``heads`` of width ``head_width``, G ``key_heads``; None of them where
    it has a recurrent state of ``state`` numbers a document instead.

    ``others`` are its parameters outside linear layers and experts. ``own_keys`` is False where it
    sees an earlier layer's.
    """

    linears: tuple[LinearShape, ...]
    experts: tuple[LinearShape, ...]
    others: int
    heads: int
    key_heads: int
    head_width: int
    window: int | None
    inner: int  # F, between the two products of its dense feedforward
    gates: int  # products that F comes from: 2 of a gated unit
    norms: int  # over D, whose inputs are kept for backward
    normed_heads: bool
    softcap: bool = False
    own_keys: bool = True
    state: int = 0

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.others + sum(each.parameters for each in (*self.linears, *self.experts))

    @property
    def matrix_weights(self) -> int:
        """Those of linear layers, which a 4-bit base holds as codes; experts stay as they are."""
        return sum(each.weights for each in self.linears)

    @property
    def products(self) -> int:
        """Multiplications of one token with this layer's weights."""
        return sum(each.products for each in (*self.linears, *self.experts))

    @property
    def key_numbers(self) -> int:
        """Keys and values of one token."""
        return 2 * self.key_heads * self.head_width * self.own_keys


@dataclass(frozen=True, slots=True, eq=False)
class ModelShape:
    """A base: D ``width``, V ``vocabulary``, its layers, and what lies outside them.

    ``outer`` are linear layers outside decoder layers, ``others`` parameters of none of these.
    """

    family: str
    width: int
    vocabulary: int
    tied: bool
    context: int
    layers: tuple[DecoderShape, ...]
    outer: tuple[LinearShape, ...] = ()
    others: int = 0
    four_bit: bool = False  # in its files
    softcap: bool = False  # of the head
    kinds: tuple[tuple[int, DecoderShape], ...] = field(init=False)
    """How many layers there are of each shape: hundreds of equal ones are counted once."""

    def __post_init__(self) -> None:
        """Count the layers of each shape."""
        object.__setattr__(self, "kinds", tuple((n, x) for x, n in Counter(self.layers).items()))

    @property
    def head_weights(self) -> int:
        """Numbers of the embedding, or of the head."""
        return self.vocabulary * self.width

    @property
    def outside(self) -> int:
        """Parameters outside the decoder layers."""
        tables = self.head_weights * (1 if self.tied else 2)
        return tables + self.others + sum(each.parameters for each in self.outer)

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.outside + sum(count * layer.parameters for count, layer in self.kinds)

    @property
    def active(self) -> int:
        """Those that one token is multiplied with, head included."""
        outer = sum(each.products for each in self.outer)
        return (
            self.head_weights + outer + sum(count * layer.products for count, layer in self.kinds)
        )

    def named_linears(self) -> Iterator[tuple[str, LinearShape]]:
        """Every linear layer by its name in the model, experts not among them."""
        for index, layer in enumerate(self.layers):
            for each in layer.linears:
                yield f"model.layers.{index}.{each.name}", each
        for each in self.outer:
            yield f"model.{each.name}", each

    def named_experts(self) -> Iterator[tuple[str, LinearShape]]:
        """Every stack of experts and every router by the name of its parameter."""
        for index, layer in enumerate(self.layers):
            for each in layer.experts:
                yield f"model.layers.{index}.{each.name}", each
