"""Open a base for use, and attach adapters to it: what every workflow starts from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from tunesmith.adapters import store
from tunesmith.adapters.fit import Identity
from tunesmith.adapters.folder import template_options_of
from tunesmith.config.methods import AnyMethod
from tunesmith.core import ranks
from tunesmith.core.errors import ModelError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.core.rank_work import by_each
from tunesmith.data.chat_text import same_template, with_options
from tunesmith.engine import memory
from tunesmith.engine.device import set_up
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.engine.shard import shard_
from tunesmith.engine.trial import admit
from tunesmith.methods.adapter import Adapter
from tunesmith.methods.peft import Difference
from tunesmith.models.gguf import encodes_alike
from tunesmith.models.load import (
    Base,
    config_of,
    holds_tokenizer,
    load_base,
    read_config,
    read_tokenizer,
    stop_ids_of,
)
from tunesmith.models.precision import DtypeChoice, detect_device
from tunesmith.models.resolve import resolve
from tunesmith.models.supported import check_config
from tunesmith.models.text_part import empty_model
from tunesmith.models.weights import stored_dtype

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base that runs packed streams."""

    base: Base
    engine: Engine
    tokenizers: dict[str, PreTrainedTokenizerBase] = field(default_factory=dict)

    def tokenizer(self, adapter: str | None) -> PreTrainedTokenizerBase:
        """The base's tokenizer, or that of an adapter with tokens or a template of its own.

        A base without a template that is compared with an adapter has the adapter's.
        """
        return self.tokenizers.get(adapter or "", self.base.tokenizer)


def open_base(
    model: str,
    *,
    dtype: DtypeChoice = "auto",
    device: str = "auto",
    four_bit: bool = False,
    trust_remote_code: bool = False,
    progress: Progress = SILENT,
) -> LoadedBase:
    """Load ``model`` without adapters; with ``four_bit`` its linear layers are held in 4-bit."""
    set_up(detect_device(device))
    config = config_of(model, trust_remote_code=trust_remote_code, progress=progress)
    notes = admit(config.get_text_config())
    base = load_base(
        model,
        dtype=dtype,
        device=device,
        four_bit=four_bit,
        trust_remote_code=trust_remote_code,
        progress=progress,
    )
    base.notes += notes
    return LoadedBase(base, prepare_(base.model, base.dtype))


def open_sharded(
    opened: Callable[[], LoadedBase], device: torch.device, *, dtype: torch.dtype | None = None
) -> LoadedBase:
    """The base that ``opened`` gives on the CPU, its layers sharded over all ranks on ``device``.

    The ranks of a machine load one after the other, so that its memory holds one whole base at a
    time. With a ``dtype`` the parameters are cast to it.
    """

    def sharded() -> LoadedBase:
        loaded = opened()
        shard_(loaded.base.model, device, dtype=dtype)
        loaded.base.device = device
        memory.release(CPU)
        return loaded

    found = None
    for turn in range(1 + max(ranks.gather(ranks.local_rank()))):
        is_mine = turn == ranks.local_rank()
        found = by_each(sharded if is_mine else lambda: found)  # noqa: B023
    assert found is not None
    return found


def open_with_adapters(
    model: str,
    adapters: Mapping[str, Path],
    *,
    four_bit: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> tuple[LoadedBase, dict[str, Adapter]]:
    """``open_base``, and the adapter of each folder attached to it under its name.

    Raises what ``attach_folder`` raises, whose ``force`` this is.
    """
    loaded = open_base(model, four_bit=four_bit, progress=progress)
    return loaded, {
        name: attach_folder(loaded, folder, name=name, force=force)
        for name, folder in adapters.items()
    }


def with_template_options(loaded: LoadedBase, options: Mapping[str, object]) -> LoadedBase:
    """The same base, its chat template with these variables set, for its adapters as well.

    Raises what ``with_options`` raises.
    """
    tokenizer = with_options(loaded.base.tokenizer, options)
    own = {name: with_options(each, options) for name, each in loaded.tokenizers.items()}
    return replace(loaded, base=replace(loaded.base, tokenizer=tokenizer), tokenizers=own)


def open_skeleton(model: str, *, progress: Progress = SILENT) -> tuple[Path, Engine]:
    """The folder of a base, and its layers without their weights (on the meta device).

    For code that needs only names and shapes: no weights are read.
    """
    folder = resolve(model, progress=progress)
    config = read_config(folder, trust_remote_code=False)
    check_config(config, folder)
    admit(config.get_text_config())
    named = config.dtype or config.get_text_config().dtype  # some classes name it in one of the two
    dtype = named if isinstance(named, torch.dtype) else stored_dtype(folder)
    # bitsandbytes' layers cannot be made without weights; plain ones have the same widths
    return folder, prepare_(empty_model(config), dtype)


def attach_folder(
    loaded: LoadedBase, folder: Path, *, name: str = "default", force: bool = False
) -> Adapter:
    """Attach the adapter of a folder; one with tokens or a template of its own brings both.

    It is asked through the chat template with the variables that it was trained with.

    Raises AdapterError as ``store.load`` does, and for an adapter that was trained over another
    base; with ``force`` not where only the names differ.
    """
    base = Identity(loaded.base.name, loaded.base.folder, trusted=force)
    adapter = attach_over_any(loaded, folder, name=name, base=base)
    if options := template_options_of(folder):
        loaded.tokenizers[name] = with_options(loaded.tokenizer(name), options)
    return adapter


def attach_over_any(
    loaded: LoadedBase,
    folder: Path,
    *,
    name: str = "default",
    settings: AnyMethod | None = None,
    differing: Sequence[Difference] = (),
    base: Identity | None = None,
) -> Adapter:
    """As ``attach_folder``, over any base unless ``base`` is given: to train or measure it there.

    ``settings``, ``differing`` and ``base`` are those of ``store.load``.
    """
    adapter = store.load(
        loaded.engine, folder, name=name, settings=settings, differing=differing, base=base
    )
    if (own := own_tokenizer(folder, loaded.base.tokenizer)) is not None:
        loaded.tokenizers[name] = own
        loaded.base.adapters_stop_ids |= stop_ids_of(loaded.base.model.config, own)
    return adapter


def lend_template(loaded: LoadedBase, name: str) -> str | None:
    """Let a base without a chat template be asked in an adapter's, and say so; None otherwise.

    A tokenizer with tokens that the base lacks is not lent.
    """
    own, base = loaded.tokenizers.get(name), loaded.base.tokenizer
    if base.chat_template or own is None or not own.chat_template or len(own) != len(base):
        return None
    loaded.tokenizers[""] = own
    return f"{loaded.base.name} has no chat template, so it is asked in the adapter's"


def own_tokenizer(folder: Path, base: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase | None:
    """The tokenizer of an adapter with tokens or a chat template of its own; None for the base's.

    Other programs save one with each adapter: of that the template counts where both encode alike.
    """
    if store.token_ids(folder):
        return read_tokenizer(folder, trust_remote_code=False)
    if not holds_tokenizer(folder):
        return None
    try:
        found = read_tokenizer(folder, trust_remote_code=False)
    except ModelError:  # it would run code of its own, or is damaged: its rows are the base's
        return None
    is_other = bool(found.chat_template) and not same_template(found, base)
    return found if is_other and encodes_alike(found, base) else None
