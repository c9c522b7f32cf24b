"""Open a base for use, and attach adapters to it: what every workflow starts from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith.adapters import store
from tunesmith.config.methods import AnyMethod
from tunesmith.engine.allocator import bound_kernel_caches, keep_freed_memory
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.methods.adapter import Adapter, Difference
from tunesmith.models.cache import ignore
from tunesmith.models.load import Base, load_base, read_tokenizer
from tunesmith.models.precision import DtypeChoice


@dataclass(frozen=True, slots=True)
class Opened:
    """A base that runs packed streams."""

    base: Base
    engine: Engine
    tokenizers: dict[str, PreTrainedTokenizerBase] = field(default_factory=dict)

    def tokenizer(self, adapter: str | None) -> PreTrainedTokenizerBase:
        """The base's tokenizer, or that of an adapter with tokens of its own."""
        return self.tokenizers.get(adapter or "", self.base.tokenizer)


def open_base(
    model: str,
    *,
    dtype: DtypeChoice = "auto",
    device: str = "auto",
    four_bit: bool = False,
    trust_remote_code: bool = False,
    emit: Callable[[str], None] = ignore,
) -> Opened:
    """Load ``model``, no adapter attached; with ``four_bit`` its linear layers are in 4 bit."""
    bound_kernel_caches()
    keep_freed_memory()
    base = load_base(
        model,
        dtype=dtype,
        device=device,
        four_bit=four_bit,
        trust_remote_code=trust_remote_code,
        emit=emit,
    )
    return Opened(base, prepare_(base.model, base.dtype))


def attach_folder(
    opened: Opened,
    folder: Path,
    *,
    name: str = "default",
    settings: AnyMethod | None = None,
    differing: Sequence[Difference] = (),
) -> Adapter:
    """Attach the adapter of a folder; one with tokens of its own brings its tokenizer along.

    The other arguments are those of ``store.load``.
    """
    adapter = store.load(opened.engine, folder, name=name, settings=settings, differing=differing)
    if name in opened.engine.vocabularies:
        opened.tokenizers[name] = read_tokenizer(folder, trust_remote_code=False)
    return adapter
