"""What every method makes: an adapter, its tensors attached to a base through the seams."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from tunesmith.config.settings import Settings

PREFIX = "base_model.model."  # of every tensor's name in PEFT's files
# Token ids whose rows are trained, each with the ids whose mean row it starts from.
NewTokens = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Words:
    """What a method's start takes from the tokenizer: ids of new tokens and of the start text."""

    new_tokens: NewTokens = field(default_factory=dict)
    start_text: Sequence[int] = ()


NO_WORDS = Words()


@dataclass(slots=True, eq=False)
class Adapter:
    """The trained tensors of one method on one base, attached under ``name``.

    ``parameters`` maps the name under which a tensor is stored (PEFT's, where PEFT has one) to
    its fp32 master. ``refresh`` must be called after the masters change; ``detach`` takes the
    adapter off the base again.
    """

    name: str
    settings: Settings
    parameters: Mapping[str, nn.Parameter]
    refresh: Callable[[], None]
    detach: Callable[[], None]
    frozen_base: bool = True
    decayed: frozenset[str] = field(default_factory=frozenset)

    @property
    def size(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters.values())
