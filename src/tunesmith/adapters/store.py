"""An adapter folder in PEFT's format: adapter_config.json, adapter_model.safetensors, a card."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tunesmith import __version__
from tunesmith.adapters import fit
from tunesmith.adapters.card import card_text
from tunesmith.adapters.class_names import as_in_class
from tunesmith.adapters.fit import Identity
from tunesmith.adapters.folder import (
    CARD,
    CONFIG,
    TENSORS,
    StoredTensors,
    read_config,
    record_files,
)
from tunesmith.config.methods import AnyMethod
from tunesmith.core import files
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import Engine
from tunesmith.engine.shard import own_part
from tunesmith.methods import table, token_rows
from tunesmith.methods.adapter import Adapter, Words
from tunesmith.methods.peft import Difference


def save(
    folder: Path,
    adapter: Adapter,
    engine: Engine,
    *,
    base: str,
    card: str = "",
    beside: Callable[[Path], object] | None = None,
) -> None:
    """Write the adapter so that Hugging Face PEFT loads it; complete or absent.

    ``base`` is what the config calls the base model, ``card`` the text of the README; ``beside``
    writes further files into the folder. Where its origin is among them (``folder.write_origin``),
    the SHA-256 of every file is added to it.
    """
    form = table.peft_of(adapter)
    config, tensors = form.to_peft(adapter, engine), form.write(adapter)
    write(folder, config, tensors, base=base, card=card, beside=beside)


def write(
    folder: Path,
    config: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    *,
    base: str,
    card: str = "",
    beside: Callable[[Path], object] | None = None,
) -> None:
    """Write a folder of these tensors, with the keys of ``config`` beside those of every adapter.

    The other parameters are those of ``save``.
    """
    whole = {
        "base_model_name_or_path": base,
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "revision": None,
        "auto_mapping": None,
        "peft_version": _peft_version(),
        **config,
    }
    kept = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}

    def fill(into: Path) -> None:
        values = json.dumps(whole, indent=2, sort_keys=True) + "\n"
        (into / CONFIG).write_text(values, encoding="utf-8")
        save_file(kept, into / TENSORS, metadata={"format": "pt"})
        text = f"An adapter for {base}, trained with Tunesmith {__version__}."
        (into / CARD).write_text(card or card_text(text, base=base), encoding="utf-8")
        if beside is not None:
            beside(into)
        record_files(into)

    files.publish(folder, fill)


def _in_class(settings: AnyMethod, before: AnyMethod, found: AnyMethod) -> AnyMethod:
    """The settings with the names of the base's class where they have the folder's own."""
    changed = {
        key: getattr(found, key)
        for key in found.model_fields_set
        if getattr(before, key) != getattr(found, key)
        and getattr(settings, key) in (None, getattr(before, key))
    }
    return settings.model_copy(update=changed) if changed else settings


def settings_of(folder: Path) -> AnyMethod:
    """The method's settings by an adapter's folder, without a base; AdapterError as ``load``.

    Keys that its files do not state are not set.
    """
    config = read_config(folder)
    settings: AnyMethod = table.reader_of(config, folder).from_peft(config, StoredTensors(folder))
    return settings


def token_ids(folder: Path) -> tuple[int, ...]:
    """The tokens whose rows an adapter's folder holds."""
    return tuple(token_rows.ids_of(read_config(folder)))


def load(
    engine: Engine,
    folder: Path,
    *,
    name: str = "default",
    settings: AnyMethod | None = None,
    differing: Sequence[Difference] = (),
    base: Identity | None = None,
) -> Adapter:
    """Attach the adapter of a PEFT folder, ours or another's, under ``name``.

    ``settings``, of its kind, are those of a run that continues from it. Raises AdapterError for a
    folder without an adapter, for files that are not as they were recorded, an unknown kind, or an
    adapter that does not fit the base: another name or hash where ``base`` identifies this one,
    every layer with the shape that was expected, values that are not finite. ConfigError where the
    adapter differs from what the settings ask for, with these differences and ``differing``.
    """
    fit.require(folder, fit.of_files(folder, trusted=base is not None and base.trusted))
    config, stored = as_in_class(engine, read_config(folder), StoredTensors(folder))
    tensors = dict(stored)
    form = table.reader_of(config, folder)
    found = form.from_peft(config, tensors)
    unfit = [*fit.of_base(folder, config, base), *fit.of_tensors(folder, engine, tensors)]
    fit.require(folder, unfit)
    if settings is not None:
        settings = _in_class(settings, settings_of(folder), found)
        if differences := [*form.differences(engine, settings, found), *differing]:
            raise _disagreement(folder, differences)
        found = settings.model_copy(update={"init": found.init})
    words = Words(new_tokens=token_rows.ids_of(config))
    adapter = table.attach(engine, found, name=name, words=words)
    parts = form.read(tensors, adapter)
    absent = [
        f"{key} {list(parameter.shape)}"
        for key, parameter in adapter.parameters.items()
        if key not in parts or parts[key].shape != parameter.shape
    ]
    if absent:
        adapter.detach()
        raise AdapterError(
            f"{folder}: it lacks tensors that its config requires: {', '.join(absent[:5])}.",
            remedy="Copy it again; new tokens need rows for the embedding and an untied head.",
        )
    put_(adapter, parts)
    return adapter


def _disagreement(folder: Path, differences: Sequence[Difference]) -> ConfigError:
    keys = ", ".join(f"method.{each.key}" for each in differences)
    return ConfigError(
        f"{folder}, which method.init continues from, differs from the settings: "
        f"{'; '.join(map(str, differences))}.",
        remedy=f"Omit {keys}: the run then uses the adapter's values. For other values start a new "
        "adapter: omit method.init.",
    )


def put_(adapter: Adapter, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite the adapter's tensors with these, name by name: of a sharded one its own part."""
    with torch.no_grad():
        for key, parameter in adapter.parameters.items():
            own_part(parameter).copy_(tensors[key])
    adapter.refresh()


def _peft_version() -> str:
    """The version of PEFT whose format this is; the installed one where there is one."""
    try:
        return version("peft")
    except PackageNotFoundError:
        return "0.21.2"
