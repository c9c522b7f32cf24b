"""An adapter folder in PEFT's format: adapter_config.json, adapter_model.safetensors, a card."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tunesmith import __version__, files
from tunesmith.config.methods import AnyMethod
from tunesmith.engine.forward import Engine
from tunesmith.errors import AdapterError, ConfigError
from tunesmith.methods import table, token_rows
from tunesmith.methods.adapter import Adapter, Difference, Words

CONFIG, TENSORS, CARD = "adapter_config.json", "adapter_model.safetensors", "README.md"


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
    writes further files into the folder.
    """
    form = table.peft_of(adapter)
    config = {
        "base_model_name_or_path": base,
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "revision": None,
        "auto_mapping": None,
        "peft_version": _peft_version(),
        **form.to_peft(adapter, engine),
    }
    tensors = {n: t.cpu().contiguous() for n, t in form.write(adapter).items()}

    def fill(into: Path) -> None:
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (into / CONFIG).write_text(text, encoding="utf-8")
        save_file(tensors, into / TENSORS, metadata={"format": "pt"})
        (into / CARD).write_text(card or _card(base), encoding="utf-8")
        if beside is not None:
            beside(into)

    files.publish(folder, fill)


def settings_of(folder: Path) -> AnyMethod:
    """What an adapter's folder says of its method, without a base; raises AdapterError as ``load``.

    Keys that its files do not tell are not set.
    """
    config = _config(folder)
    settings: AnyMethod = table.reader_of(config, folder).from_peft(config, tensors_of(folder))
    return settings


def token_ids(folder: Path) -> tuple[int, ...]:
    """The tokens whose rows an adapter's folder holds."""
    return tuple(token_rows.ids_of(_config(folder)))


def load(
    engine: Engine,
    folder: Path,
    *,
    name: str = "default",
    settings: AnyMethod | None = None,
    differing: Sequence[Difference] = (),
) -> Adapter:
    """Attach the adapter of a PEFT folder, ours or another's, under ``name``.

    ``settings``, of its kind, are those of a run that goes on with it. Raises AdapterError for a
    folder that is not one, a kind that is not known, or tensors that do not fit this base: all of
    them, each with the shape that was expected; ConfigError where the adapter is another than the
    settings ask for, with these differences and those known before.
    """
    config = _config(folder)
    tensors = tensors_of(folder)
    form = table.reader_of(config, folder)
    found = form.from_peft(config, tensors)
    if misfits := form.misfits(engine, tensors):
        shown = "; ".join(misfits[:5]) + (f"; and {len(misfits) - 5} more" if misfits[5:] else "")
        raise AdapterError(
            f"{folder}: the adapter was not made for this base: {shown}.",
            remedy=f"It names {config.get('base_model_name_or_path')!r} as its base; load that.",
        )
    if settings is not None:
        _require_agreement(folder, [*form.differences(engine, settings, found), *differing])
        found = settings.model_copy(update={"start": found.start})
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
            f"{folder}: its config asks for tensors that it lacks: {', '.join(absent[:5])}.",
            remedy="Copy it again; new tokens need rows for the embedding and an untied head.",
        )
    put_(adapter, parts)
    return adapter


def _require_agreement(folder: Path, differences: Sequence[Difference]) -> None:
    if differences:
        keys = ", ".join(f"method.{each.key}" for each in differences)
        raise ConfigError(
            f"{folder}, which method.start goes on with, is another adapter than is asked for: "
            f"{'; '.join(map(str, differences))}.",
            remedy=f"Leave {keys} out: a run that goes on takes the adapter's. For other values "
            "start a new adapter: leave method.start out.",
        )


def put_(adapter: Adapter, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite the adapter's tensors with these, name by name."""
    with torch.no_grad():
        for key, parameter in adapter.parameters.items():
            parameter.copy_(tensors[key])
    adapter.refresh()


def _config(folder: Path) -> dict[str, object]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{path}: cannot be read: {error}.", remedy="Give the folder of a PEFT adapter."
        ) from None
    if not isinstance(config, dict):
        raise AdapterError(f"{path}: holds no JSON object.")
    return config


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """An adapter's tensors by the names in its file; raises AdapterError as ``load``."""
    path = folder / TENSORS
    if not path.is_file():
        pickled = (folder / "adapter_model.bin").exists()
        raise AdapterError(
            f"{path} is missing{'; adapter_model.bin is a pickle, which can run code' * pickled}.",
            remedy="Save it again with PEFT's save_pretrained, which writes safetensors.",
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(
            f"{path}: damaged: {error}.", remedy="Copy it again, or take an earlier checkpoint."
        ) from None


def _peft_version() -> str:
    """The version of PEFT whose format this is; the installed one where there is one."""
    try:
        return version("peft")
    except PackageNotFoundError:
        return "0.21.2"


def _card(base: str) -> str:
    return (
        f"---\nbase_model: {base}\nlibrary_name: peft\n---\n\n"
        f"An adapter for {base}, trained with Tunesmith {__version__}.\n"
    )
