"""A base's config.json by its name, folder or hub id, and whether it describes a base that can be
trained over: no weights, and no library of tensors.
"""

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tunesmith.core import yaml_text
from tunesmith.core.errors import ModelError
from tunesmith.models.catalog import find_entry
from tunesmith.models.hub_bases import find_hub_base
from tunesmith.models.names import other_sources, require_base_name

CONFIG = "config.json"
Config = Mapping[str, Any]  # of a config.json


@functools.cache
def known_configs() -> Mapping[str, Config]:
    """The sizes of published bases by name, from the smallest of each family to the largest."""
    text = (Path(str(files(__package__))) / "known_shapes.yaml").read_text(encoding="utf-8")
    return {row["name"]: row for row in yaml_text.read(text)}


def read_base_config(name: str) -> Config:
    """The config of a base: of a folder or config.json, of a known name, else of the hub.

    Raises ModelError for a name that means none, or where the hub cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _read(path / CONFIG)
    if path.suffix == ".json" and path.is_file():
        return _read(path)
    base = find_hub_base(name)
    short = (base.name if base else name.rpartition("/")[2]).lower()
    for each in (short, f"{short}-instruct", short.removesuffix("-instruct")):
        if each in known_configs():
            return known_configs()[each]
    entry = find_entry(name)
    if entry is not None and entry.cached:
        return _read(entry.folder / CONFIG)
    require_base_name(name)
    return _from_hub(base.hub_id if base else name)


def _read(file: Path) -> Config:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{file}: cannot be read: {error.strerror}.",
            remedy="Name a base's folder, its config.json, a short name or a hub id.",
        ) from error
    except ValueError as error:
        raise ModelError(f"{file}: is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file}: is no config of a base, but a {type(found).__name__}.")
    return found


def _from_hub(hub_id: str) -> Config:
    """From the hub's cache here, else from the hub: one small file."""
    from huggingface_hub import hf_hub_download

    try:
        file = hf_hub_download(hub_id, CONFIG)
    except Exception as error:  # which library carries the requests differs by version
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__).rstrip(".")
        raise ModelError(
            f"There is not a folder {hub_id}, and its config could not be fetched from the hub: "
            f"{reason}.",
            remedy=other_sources(hub_id),
        ) from error
    return _read(Path(file))


_SIZES = ("hidden_size", "num_hidden_layers")


def require_sizes(config: Config, name: str) -> None:
    """Raise ModelError for sizes that are missing or no positive numbers."""
    keys = (*_SIZES, "num_attention_heads", "vocab_size", "num_key_value_heads")
    found = {key: config[key] for key in keys if config.get(key) is not None}
    missing = [key for key in _SIZES if key not in found]
    odd = [key for key, value in found.items() if not isinstance(value, int) or value < 1]
    remedy = "Give the config.json of a base."
    if missing:
        raise ModelError(f"{name}: describes no model: it has no {missing[0]}.", remedy=remedy)
    if odd:
        raise ModelError(
            f"{name}: describes no model: {' and '.join(odd)} must be whole numbers above 0.",
            remedy=remedy,
        )


def holds_four_bit(config: Config, name: str) -> bool:
    """Whether the files hold 4-bit codes; ModelError for weights that cannot be trained over."""
    found = config.get("quantization_config") or {}
    kind = found.get("quant_method")
    if kind in (None, "mxfp4"):  # whose experts are dequantized
        return False
    if kind == "bitsandbytes" and found.get("load_in_4bit"):
        return True
    raise ModelError(
        f"{name}: its weights are already quantized ({kind}), which is not supported.",
        remedy="Give the 16-bit base; method qlora quantizes it to 4-bit while loading.",
    )
