"""What every method makes: an adapter, attached through the seams; and its config's numbers."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from tunesmith.config.settings import Settings
from tunesmith.core.errors import AdapterError

PREFIX = "base_model.model."  # of every tensor's name in PEFT's files
# Token ids whose rows are trained, each with the ids whose mean row it starts from.
NewTokens = Mapping[int, Sequence[int]]
# What merging makes of some of the base's tensors, by their names: from one in fp32 to another.
Changes = Mapping[str, Callable[[Tensor], Tensor]]
Tensors = Callable[[], Mapping[str, Tensor]]  # by name, read when they are asked for


@dataclass(frozen=True, slots=True)
class Words:
    """What a method's start takes from outside the base that runs.

    Ids of new tokens and of the start text, from the tokenizer; and ``original``, a weight by its
    name as it was before the base was quantised.
    """

    new_tokens: NewTokens = field(default_factory=dict)
    start_text: Sequence[int] = ()
    original: Callable[[str], Tensor] | None = None


NO_WORDS = Words()


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of `method` with what a run asks for, and what the adapter has that it goes on with."""

    key: str
    asked: object
    found: object

    def __str__(self) -> str:
        """For people: `method.rank is 16, the adapter has 2`."""
        return f"method.{self.key} is {_shown(self.asked)}, the adapter has {_shown(self.found)}"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]" if value else "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def nothing() -> None:
    """For an adapter that has nothing to do there."""


@dataclass(slots=True, eq=False)
class Adapter:
    """The trained tensors of one method on one base, attached under ``name``.

    ``parameters`` maps the name under which a tensor is stored (PEFT's, where PEFT has one) to
    its fp32 master; those that ask for no gradient are kept as they are. ``rates`` are learning
    rates relative to the run's, where they differ. ``refresh`` must be called after the masters
    change, ``gather`` after a step's last backward and before its gradients are used; ``detach``
    takes the adapter off the base again.
    """

    name: str
    settings: Settings
    parameters: Mapping[str, nn.Parameter]
    refresh: Callable[[], None]
    detach: Callable[[], None]
    gather: Callable[[], None] = nothing
    frozen_base: bool = True
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that change."""
        return {name: p for name, p in self.parameters.items() if p.requires_grad}

    @property
    def decayed(self) -> frozenset[str]:
        """The trained parameters that weight decay applies to: all but vectors.

        Vectors are biases, the weights of norms and DoRA's magnitudes.
        """
        return frozenset(name for name, p in self.trained.items() if p.dim() > 1)

    @property
    def size(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.trained.values())


CONFIG = "adapter_config.json"
REMEDY = f"Copy {CONFIG} again from where the adapter was made, or mend it there."


def number(config: Mapping[str, object], key: str, default: float) -> float:
    """The number of ``key``; raises AdapterError for what is none."""
    return _number(config.get(key, default), key)


def pattern(config: Mapping[str, object], key: str) -> dict[str, float]:
    """Numbers by a regular expression for names of layers; raises AdapterError for what is none."""
    found = config.get(key) or {}
    if not isinstance(found, Mapping):
        raise AdapterError(
            f"{CONFIG}: {key} is {found!r}, no object of names and numbers.", remedy=REMEDY
        )
    for name in found:
        try:
            re.compile(name)
        except re.error as error:
            raise AdapterError(
                f"{CONFIG}: {key} has {name!r}, which is no regular expression: {error}.",
                remedy=REMEDY,
            ) from None
    return {name: _number(value, f"{key} of {name!r}") for name, value in found.items()}


def of_layer(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first pattern that matches the end of the name as a regular expression."""
    for name, value in patterns.items():
        if re.match(rf"(.*\.)?({name})$", module):
            return value
    return default


def _number(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise AdapterError(f"{CONFIG}: {key} is {value!r}, not a number.", remedy=REMEDY)
    return value
