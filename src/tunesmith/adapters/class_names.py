"""What does the whole class call the layers of an adapter that was made over its language model?

transformers opens some checkpoints that read images as a language model alone too, where a layer is
`model.layers.0...` and not `model.language_model.layers.0...`.
"""

import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from tunesmith.adapters.folder import CONFIG, INDEX, TENSORS, StoredTensors, read_config
from tunesmith.core import files
from tunesmith.engine.forward import Engine
from tunesmith.methods.adapter import PREFIX
from tunesmith.methods.peft import pattern
from tunesmith.methods.targets import of_layer

ALONE = "model"  # the decoder of a language model alone
_CHOICES = ("layers_to_transform", "layers_pattern", "exclude_modules")

Config = Mapping[str, object]
Tensors = Mapping[str, Tensor]


def as_in_class(engine: Engine, config: Config, tensors: Tensors) -> tuple[Config, Tensors]:
    """An adapter's config and tensors with the names of the base's class.

    The same objects where they have them already.
    """
    names = {module: name for name, module in engine.model.named_modules()}
    decoder = names[engine.model.get_decoder()]
    if decoder == ALONE or any(key.startswith(f"{PREFIX}{decoder}.") for key in tensors):
        return config, tensors
    children = [name for name, _ in engine.model.get_decoder().named_children()]
    alone = tuple(f"{PREFIX}{ALONE}.{child}." for child in children)
    start = len(f"{PREFIX}{ALONE}")
    old = {f"{PREFIX}{decoder}{k[start:]}": k for k in tensors if k.startswith(alone)}
    if not old:
        return config, tensors
    kept = {key: key for key in tensors if not key.startswith(alone)}
    modules = {_module(new): _module(key) for new, key in old.items() if ".lora_" in key}
    return _renamed(config, modules), _Renamed(tensors, {**old, **kept})


def _module(key: str) -> str:
    return key.removeprefix(PREFIX).rpartition(".lora_")[0]


def _renamed(config: Config, modules: Mapping[str, str]) -> Config:
    """The config whose targets and patterns name these layers, each with the name that it had."""
    if not modules:
        return config
    patterns = {}
    for key in ("rank_pattern", "alpha_pattern"):
        given = pattern(config, key)
        own = {new: of_layer(given, old, math.nan) for new, old in modules.items()}
        stated = {new: value for new, value in own.items() if not math.isnan(value)}
        patterns[key] = {**stated, **given}
    targets = {"target_modules": sorted(modules), **dict.fromkeys(_CHOICES)}
    return {**config, **targets, **patterns}


class _Renamed(Mapping[str, Tensor]):
    """Tensors under other names; each is read when it is requested."""

    def __init__(self, tensors: Tensors, names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, names

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextlib.contextmanager
def folder_in_class(engine: Engine, folder: Path) -> Iterator[Path]:
    """The folder of an adapter with the names of the base's class: a copy where it has others."""
    given = read_config(folder), StoredTensors(folder)
    config, tensors = as_in_class(engine, *given)
    if tensors is given[1]:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=files.TEMPORARY) as root:
        copy = Path(root, folder.resolve().name)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors", INDEX))
        (copy / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")
        save_file(dict(tensors), copy / TENSORS, metadata={"format": "pt"})
        yield copy
