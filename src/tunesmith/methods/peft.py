"""An adapter in PEFT's format: what a method must do for it, and how its config is read."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.engine.term import Term
from tunesmith.methods.adapter import Adapter

CONFIG = "adapter_config.json"
REMEDY = f"Copy {CONFIG} again from where the adapter was made, or fix it there."
Config = Mapping[str, object]  # adapter_config.json
Stored = Mapping[str, Tensor]  # an adapter's tensors by name
# What a stored adapter adds to a layer, by its name; its tensors are read when it is called.
Terms = Mapping[str, Callable[[], Term]]
Factors = tuple[Tensor, Tensor, float]  # A [R, D_in], B [D_out, R] and s of s B A


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of `method`: what a run asks for, and what the adapter has that it continues from."""

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


class PeftFormat(Protocol):
    """How a method's adapter is written and read in PEFT's format; a module is one.

    ``to_peft`` and ``write`` give the method's part of the config and the stored tensors,
    ``from_peft`` settings and ``read`` the parameters' tensors from them. ``misfits`` lists what of
    the tensors does not fit a base, ``differences`` what a run asks for that ``from_peft`` did not
    find. ``terms`` is what the adapter adds to each layer of its base; None where it changes no
    weight. ``PEFT_TYPES`` are PEFT's names of what is read, the one that is written first.
    """

    @property
    def PEFT_TYPES(self) -> tuple[str, ...]: ...
    def to_peft(self, adapter: Adapter, engine: Engine, /) -> dict[str, object]: ...
    def write(self, adapter: Adapter, /) -> Stored: ...
    def from_peft(self, config: Config, tensors: Stored, /) -> Any: ...
    def read(self, tensors: Stored, adapter: Adapter, /) -> Stored: ...
    def misfits(self, engine: Engine, tensors: Stored, /) -> list[str]: ...
    def differences(self, engine: Engine, asked: Any, found: Any, /) -> list[Difference]: ...
    @property
    def terms(self) -> Callable[[Config, Stored], Terms] | None: ...


def plain_write(adapter: Adapter) -> dict[str, Tensor]:
    """``write`` of a method that stores its parameters as they are."""
    return {name: parameter.detach() for name, parameter in adapter.parameters.items()}


def plain_read(tensors: Stored, _: Adapter) -> Stored:
    """``read`` of a method that stores its parameters as they are."""
    return tensors


def number(config: Config, key: str, default: float) -> float:
    """The number of ``key``; raises AdapterError for any other value."""
    return _number(config.get(key, default), key)


def pattern(config: Config, key: str) -> dict[str, float]:
    """Numbers by a regular expression for names of layers; AdapterError for anything else."""
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
                f"{CONFIG}: {key} has {name!r}, which is not a regular expression: {error}.",
                remedy=REMEDY,
            ) from None
    return {name: _number(value, f"{key} of {name!r}") for name, value in found.items()}


def _number(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise AdapterError(f"{CONFIG}: {key} is {value!r}, not a number.", remedy=REMEDY)
    return value


def number_format(dtype: torch.dtype) -> Literal["float32", "bfloat16", "float16"]:
    """The name of an adapter's number format; float32 for every other."""
    if dtype == torch.bfloat16:
        return "bfloat16"
    return "float16" if dtype == torch.float16 else "float32"


def master(tensor: Tensor) -> nn.Parameter:
    """A stored tensor as a parameter in fp32 or wider."""
    return nn.Parameter(tensor.to(torch.promote_types(tensor.dtype, torch.float32)))


def layers_text(names: Sequence[str]) -> str:
    """How many layers, and the last parts of their names: `60: k_proj, v_proj`."""
    leaves = sorted({name.rpartition(".")[2] for name in names})
    return f"{len(names)}: {', '.join(leaves)}" if leaves else "none"


def not_a_layer(engine: Engine, module: str) -> str:
    """That a module which an adapter changes is no linear layer of the base."""
    if module in engine.other_modules:
        return f"{module} is in a part that reads images or sound, which is not loaded"
    return f"{module} is not a linear layer of it"


def strange(method: str, found: Sequence[str]) -> AdapterError:
    """That an adapter has what the method here does not."""
    return AdapterError(
        f"The adapter has what {method} here does not: {'; '.join(found)}.",
        remedy="Merge it with the tool that made it, and use the merged model as base.",
    )
