"""What every method makes: an adapter, attached through the seams."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from tunesmith.config.settings import Settings
from tunesmith.engine.forward import Engine
from tunesmith.engine.shard import is_sharded
from tunesmith.engine.term import Term, note_change

PREFIX = "base_model.model."  # of every tensor's name in PEFT's files
# Token ids whose rows are trained, each with the ids whose mean row it starts from.
NewTokens = Mapping[int, Sequence[int]]
# How merging changes some of the base's tensors, by their names: from one in fp32 to another.
Changes = Mapping[str, Callable[[Tensor], Tensor]]
Tensors = Callable[[], Mapping[str, Tensor]]  # by name, read when they are requested


@dataclass(frozen=True, slots=True)
class Words:
    """What a method's initial state takes from outside the base that runs.

    Ids of new tokens and of the initial text, from the tokenizer; and ``original``, a weight by
    its name as it was before the base was quantized.
    """

    new_tokens: NewTokens = field(default_factory=dict)
    init_text: Sequence[int] = ()
    original: Callable[[str], Tensor] | None = None


NO_WORDS = Words()


def nothing() -> None:
    """For an adapter that needs no such call."""


@dataclass(slots=True, eq=False)
class Adapter:
    """The trained tensors of one method on one base, attached under ``name``.

    ``parameters`` maps the name under which a tensor is stored (PEFT's, where PEFT has one) to
    its fp32 master; those without a gradient stay unchanged. ``rates`` are learning rates relative
    to the run's, where they differ. ``detach`` removes the adapter from the base. ``refresh`` must
    be called after the masters change, ``gather`` after a step's last backward and before its
    gradients are used: until then they are those of ``leaves``, where it has such. ``drops``: in
    training it drops some inputs.
    """

    name: str
    settings: Settings
    parameters: Mapping[str, nn.Parameter]
    detach: Callable[[], object]
    refresh: Callable[[], None] = nothing
    gather: Callable[[], None] = nothing
    frozen_base: bool = True
    rates: Mapping[str, float] = field(default_factory=dict)
    drops: bool = False
    leaves: Sequence[nn.Parameter] = ()

    @property
    def summed(self) -> list[nn.Parameter]:
        """The parameters whose gradients the micro-batches of a step add to.

        Not those of a sharded base, which its layers sum over ranks.
        """
        return [p for p in self.leaves or self.trained.values() if not is_sharded(p)]

    @property
    def is_sharded(self) -> bool:
        """Whether ranks hold parts of its tensors."""
        return any(map(is_sharded, self.parameters.values()))

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that change."""
        return {name: p for name, p in self.parameters.items() if p.requires_grad}

    @property
    def decayed(self) -> frozenset[str]:
        """The trained parameters that weight decay applies to: all but vectors.

        Vectors are biases, those of all experts in one matrix too, the weights of norms, DoRA's
        magnitudes and IA3's factors.
        """
        matrices = {name for name, p in self.trained.items() if p.dim() > 1}
        return frozenset(name for name in matrices if not name.endswith("bias"))

    @property
    def size(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.trained.values())


def beside(
    engine: Engine,
    terms: Mapping[str, Term],
    parameters: Mapping[str, nn.Parameter],
    *,
    name: str,
    settings: Settings,
    rates: Mapping[str, float] | None = None,
) -> Adapter:
    """The adapter that has these terms beside layers, experts or routers, attached."""
    seams = engine.seams
    for module, term in terms.items():
        seams[module].terms[name] = term

    def refresh() -> None:
        for term in terms.values():
            term.refresh()

    def detach() -> None:
        for module in terms:
            seams[module].terms.pop(name, None)
        note_change()

    refresh()
    drops = any(term.dropout for term in terms.values())
    return Adapter(
        name, settings, parameters, detach, refresh, rates=dict(rates or {}), drops=drops
    )
