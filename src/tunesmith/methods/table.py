"""The table of methods: everything else asks it and knows no method by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunesmith.engine.forward import Engine
from tunesmith.methods import full, lora
from tunesmith.methods.adapter import Adapter


@dataclass(frozen=True, slots=True)
class Method:
    """How a method attaches, and where its learning rate starts."""

    attach: Callable[..., Adapter]
    rate: float  # peak learning rate for a base of width 2000
    summary: str


METHODS: dict[str, Method] = {
    "lora": Method(lora.attach, 5e-4, "a low-rank term beside each linear layer"),
    "full": Method(full.attach, 5e-5, "every weight of the base"),
}
# Narrower bases take larger steps: the exponent that Thinking Machines fitted over llama models
# ("LoRA Without Regret" and tinker-cookbook's hyperparam_utils, 2025).
WIDTH, EXPONENT = 2000, 0.781


def attach(engine: Engine, settings: Any, *, name: str = "default", seed: int = 0) -> Adapter:
    """Attach a new adapter of the kind that ``settings`` names."""
    return METHODS[settings.kind].attach(engine, settings, name=name, seed=seed)


def learning_rate(kind: str, width: int) -> float:
    """The peak learning rate of `auto` for a base of hidden width ``width``, two digits."""
    return float(f"{METHODS[kind].rate * (WIDTH / width) ** EXPONENT:.1e}")
