"""An adapter merged into its base: one plain model that computes as both do together."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith import __version__
from tunesmith.adapters.card import card_text
from tunesmith.adapters.class_names import as_in_class
from tunesmith.adapters.folder import (
    CARD,
    Origin,
    StoredTensors,
    options_section,
    read_config,
    record_files,
    system_section,
    write_origin,
)
from tunesmith.adapters.products import RelativeError
from tunesmith.core import files
from tunesmith.core.errors import AdapterError
from tunesmith.core.numbers import percent
from tunesmith.engine.forward import Engine, named_tensors
from tunesmith.methods import table, token_rows
from tunesmith.methods.adapter import Adapter, Changes
from tunesmith.models.cache import folder_bytes
from tunesmith.models.hashes import TOKENIZER_FILES
from tunesmith.models.text_part import as_files, file_names
from tunesmith.models.weights import read_weight, write_derived

# The base that the adapter was trained on, dequantized where it is 4-bit, or what its folder
# holds, from before it was quantized or cast.
Into = Literal["trained", "original"]
_REMEDY = "Free space, fix the folder's permissions, or name another folder."


@dataclass(frozen=True, slots=True)
class Target:
    """Where a merged model goes, and what it is made from.

    ``dtype`` None: the format that the base computes in. ``source`` is the base's folder as it was
    given: its template, generation config, licence and (without a ``tokenizer``) its tokenizer are
    copied, and for ``into`` "original" its weights are used. ``origin`` is the adapter's, which the
    model carries; ``tokenizer`` belongs to an adapter that has tokens of its own.
    """

    folder: Path
    into: Into = "trained"
    dtype: torch.dtype | None = None
    source: Path = field(kw_only=True)
    origin: Origin = field(kw_only=True)
    tokenizer: PreTrainedTokenizerBase | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class MergedModel:
    """A merged model's folder.

    ``gap``, where it was merged into the original base: its distance from the base that was
    trained on, ||W - W_trained|| / ||W||.
    """

    folder: Path
    into: Into
    four_bit: bool  # whether the adapter was trained over a 4-bit base
    bytes: int
    gap: RelativeError | None

    def sentence(self) -> str:
        """Which base it was merged into, for people."""
        return _sentence(self.four_bit, self.gap)


def changed(
    engine: Engine,
    changes: Changes,
    *,
    dtype: torch.dtype | None = None,
    original: Callable[[str], Tensor] | None = None,
    gap: RelativeError | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of a merged model, one after the other; the base is only read.

    ``changes`` are those of an adapter (``methods.table.merge``), or of several that were combined.
    Computed in fp32, given in ``dtype`` (None: the format that the base computes in). ``original``
    gives the tensor of a name to merge into in place of the base's own; ``gap`` collects the
    distance between the two.
    """
    changes = dict(changes)
    for name, trained in named_tensors(engine):
        weight = trained if original is None else _alike(original(name), trained, name)
        if not weight.is_floating_point():
            yield name, weight
            continue
        exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
        layer = name.removesuffix(".weight")
        if gap is not None and layer in engine.linears:
            gap.add(layer, float((exact - trained.to(exact.dtype)).norm()), float(exact.norm()))
        change = changes.pop(name, None)
        yield name, (change(exact) if change else exact).to(dtype or engine.compute_dtype)
    assert not changes, f"the base has no {sorted(changes)}"


def save(engine: Engine, adapter: Adapter, target: Target) -> MergedModel:
    """Write the merged model as a folder that loads as any base does; complete or absent.

    Raises AdapterError for what cannot be merged, RunError where the folder cannot be written.
    """
    changes = table.merge(engine, adapter)
    tokens = engine.vocabularies.get(adapter.name)
    width = engine.head.width(tokens) if tokens else None
    return save_changed(engine, changes, target, width=width)


def save_stored(skeleton: Engine, folder: Path, target: Target) -> MergedModel:
    """``save`` of the adapter in ``folder``, with neither it nor the base in memory.

    ``skeleton`` is the base without weights (on the meta device): they are read from the target's
    source, merged and written one after the other. Only for a base that is not 4-bit.
    """
    config, tensors = as_in_class(skeleton, read_config(folder), StoredTensors(folder))
    changes = table.merge_stored(skeleton, config, tensors, folder)
    ids = token_rows.ids_of(config)
    width = max(len(skeleton.embedding.weight), *(i + 1 for i in ids)) if ids else None
    return save_changed(skeleton, changes, target, width=width)


def save_changed(
    engine: Engine, changes: Changes, target: Target, *, width: int | None = None
) -> MergedModel:
    """``save`` for any changes: those of an adapter, or of several that were combined.

    ``width`` is V where there are new tokens. An engine without weights (on the meta device) uses
    those in the target's source.
    """
    source, tokenizer, origin = target.source, target.tokenizer, target.origin
    if width and tokenizer is None:
        raise AdapterError(
            "The adapter has tokens of its own, which the base's tokenizer lacks.",
            remedy="Give the tokenizer in the adapter's folder.",
        )
    files.require_new(target.folder)
    is_skeleton = engine.head_weight.is_meta
    reads = is_skeleton or target.into == "original"
    names = file_names(source, engine.model)
    original = functools.partial(read_weight, source, names=names) if reads else None
    gap = RelativeError() if target.into == "original" and not is_skeleton else None
    dtype = target.dtype or engine.compute_dtype
    four_bit = any(linear.is_four_bit for linear in engine.linears.values())

    def fill(into: Path) -> None:
        files.require_space(into, _bytes(engine, dtype), what="the merged model", remedy=_REMEDY)
        named = changed(engine, changes, dtype=dtype, original=original, gap=gap)
        write_derived(
            source,
            into,
            tensors=as_files(engine.model, named, source),
            dtype=dtype,
            config={"vocab_size": width} if width else {},
            skip=TOKENIZER_FILES if tokenizer else (),
        )
        if tokenizer is not None:
            tokenizer.save_pretrained(into)
        (into / CARD).write_text(_card(origin, four_bit, gap), encoding="utf-8")
        far = None if gap is None else gap.overall
        merged = {"into": target.into, "four_bit": four_bit, "difference": far}
        write_origin(into, origin, merged=merged)
        record_files(into)

    files.publish(target.folder, fill, remedy=_REMEDY)
    return MergedModel(target.folder, target.into, four_bit, folder_bytes(target.folder), gap)


def _alike(weight: Tensor, trained: Tensor, name: str) -> Tensor:
    """The original's tensor on the base's device; AdapterError for another shape."""
    if weight.shape != trained.shape:
        raise AdapterError(
            f"The base's folder holds {name} as {list(weight.shape)}, the base has it as "
            f"{list(trained.shape)}: it is 4-bit itself, or another model's.",
            remedy="Merge into the base that was trained on, or name the folder of the 16-bit base "
            "that it was made from.",
        )
    return weight if trained.is_meta else weight.to(trained.device)


def _bytes(engine: Engine, dtype: torch.dtype) -> int:
    """About what the merged tensors take, one format for all."""
    linears = engine.linears.values()
    numbers = sum(linear.in_features * linear.out_features for linear in linears)
    numbers += sum(stack.weight.numel() for stack in engine.experts.values())
    numbers += engine.embedding.weight.numel() * (1 if engine.tied else 2)
    return numbers * dtype.itemsize


def _card(origin: Origin, four_bit: bool, gap: RelativeError | None) -> str:
    """What the model is, and how it was trained to be asked."""
    text = f"{origin.published} with an adapter merged into it by Tunesmith {__version__}."
    text += f" {_sentence(four_bit, gap)}"
    if origin.system:
        text += f"\n\n{system_section(origin.system)}"
    if origin.template_options:
        text += f"\n\n{options_section(origin.template_options)}"
    return card_text(text, base=origin.published, library="transformers", relation="finetune")


def _sentence(four_bit: bool, gap: RelativeError | None) -> str:
    held = " in 4-bit" if four_bit else ""
    if gap is None:
        dequantized = ", dequantized from 4-bit" if four_bit else ""
        return f"Merged into the base that the adapter was trained on{dequantized}."
    return (
        "Merged into the original base, whose linear layers differ from those that the adapter was "
        f"trained on{held} by {percent(gap.overall, 2)} (||W - W_trained|| / ||W||)."
    )
