"""Open a base with adapters for use: what chat, evaluation and server start from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith.adapters import store
from tunesmith.engine.allocator import bound_kernel_caches, keep_freed_memory
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.methods.adapter import Adapter
from tunesmith.models.cache import ignore
from tunesmith.models.load import Base, load_base, read_tokenizer
from tunesmith.models.precision import DtypeChoice


@dataclass(frozen=True, slots=True)
class Opened:
    """A base that runs packed streams, with its adapters attached by name."""

    base: Base
    engine: Engine
    adapters: tuple[str, ...] = ()
    tokenizers: dict[str, PreTrainedTokenizerBase] = field(default_factory=dict)

    def tokenizer(self, adapter: str | None) -> PreTrainedTokenizerBase:
        """The base's tokenizer, or that of an adapter with tokens of its own."""
        return self.tokenizers.get(adapter or "", self.base.tokenizer)


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
    opened = Opened(base, engine, tuple(adapters or ()))
    for name, folder in (adapters or {}).items():
        attach_folder(opened, folder, name=name)
    return opened


def attach_folder(opened: Opened, folder: Path, *, name: str = "default") -> Adapter:
    """Attach the adapter of a folder; one with tokens of its own brings its tokenizer along."""
    adapter = store.load(opened.engine, folder, name=name)
    if name in opened.engine.vocabularies:
        opened.tokenizers[name] = read_tokenizer(folder, trust_remote_code=False)
    return adapter
