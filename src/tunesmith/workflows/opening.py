"""Open a base with adapters for use: what chat, evaluation and server start from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.adapters import store
from tunesmith.engine.allocator import bound_kernel_caches, keep_freed_memory
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.models.cache import ignore
from tunesmith.models.load import Base, load_base
from tunesmith.models.precision import DtypeChoice


@dataclass(frozen=True, slots=True)
class Opened:
    """A base that runs packed streams, with its adapters attached by name."""

    base: Base
    engine: Engine
    adapters: tuple[str, ...] = ()


def open_base(
    model: str,
    adapters: Mapping[str, Path] | None = None,
    *,
    dtype: DtypeChoice = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    emit: Callable[[str], None] = ignore,
) -> Opened:
    """Load ``model`` and attach the adapters of these folders under their names."""
    bound_kernel_caches()
    keep_freed_memory()
    base = load_base(
        model, dtype=dtype, device=device, trust_remote_code=trust_remote_code, emit=emit
    )
    engine = prepare_(base.model, base.dtype)
    for name, folder in (adapters or {}).items():
        store.load(engine, folder, name=name)
    return Opened(base, engine, tuple(adapters or ()))
