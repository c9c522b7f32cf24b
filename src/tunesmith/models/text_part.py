"""The language model within a checkpoint that also reads images or sound.

It is loaded as its whole class with the towers removed, so that every module has the name that it
has there: an adapter fits the whole class in PEFT and vLLM, and a folder derived from the base
keeps the towers' tensors as they are in its files.
"""

import copy
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
)

from tunesmith.models.layout import as_stored
from tunesmith.models.weights import FileNames, read_weight, weight_shapes
from tunesmith.models.whole_classes import WHOLE_CLASSES

if TYPE_CHECKING:  # it imports the package `kernels` where that is installed
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Towers:
    """What a model lacks of its whole class: names of modules, and of all that is in them."""

    modules: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def is_whole(config: PretrainedConfig) -> bool:
    """Whether a config is one of a class that holds more than a language model."""
    return config.model_type in WHOLE_CLASSES


def auto_class(config: PretrainedConfig) -> Any:
    """The class of transformers' that opens a folder with this config as a whole."""
    return AutoModelForImageTextToText if is_whole(config) else AutoModelForCausalLM


def loader_of(config: PretrainedConfig) -> Any:
    """What loads the language model: a class with `from_pretrained`."""
    if not is_whole(config):
        return AutoModelForCausalLM
    return _without_towers(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)])


def empty_model(config: PretrainedConfig) -> "PreTrainedModel":
    """The language model without its weights, on the meta device."""
    with torch.device("meta"):
        model = auto_class(config).from_config(config, attn_implementation="eager")
    if is_whole(config):
        remove_towers_(model)
    found: PreTrainedModel = model
    return found


@functools.cache
def _without_towers(whole: "type[PreTrainedModel]") -> "type[PreTrainedModel]":
    """The class of models that are made whole and then lose their towers, before weights are read.

    Under the same name in the same module, by which transformers finds the names in old files.
    """

    def init(self: Any, config: PretrainedConfig) -> None:
        whole.__init__(self, config)
        remove_towers_(self)
        unread = [rf"^{re.escape(name)}\." for name in towers_of(self).modules]
        known = self._keys_to_ignore_on_load_unexpected or ()
        self._keys_to_ignore_on_load_unexpected = {*known, *unread}

    return type(whole.__name__, (whole,), {"__init__": init, "__module__": whole.__module__})


def remove_towers_(model: "PreTrainedModel") -> None:
    """Remove every module that is no part of the language model or of the way to it."""
    names = {module: name for name, module in model.named_modules()}
    kept = (names[model.get_decoder()], names[model.get_output_embeddings()])
    removed: list[str] = []
    for name in list(names.values()):
        is_kept = any(_is_in(name, each) or _is_in(each, name) for each in kept)
        if name and not is_kept and not any(_is_in(name, each) for each in removed):
            removed.append(name)
    parts = [name for name in names.values() if any(_is_in(name, each) for each in removed)]
    for name in removed:
        parent, _, last = name.rpartition(".")
        delattr(model.get_submodule(parent), last)
    model.removed_towers = Towers(tuple(removed), tuple(parts))


def towers_of(model: "PreTrainedModel") -> Towers:
    """What was removed from a model; nothing from one that is whole."""
    found: Towers = getattr(model, "removed_towers", Towers())
    return found


def _is_in(name: str, module: str) -> bool:
    """Whether a dotted name is a module's or that of a part of it."""
    return not module or name == module or name.startswith(f"{module}.")


def names_in_model(model: "PreTrainedModel", names: Iterable[str]) -> dict[str, str]:
    """The model's name of each tensor in a base's files, by its name there."""
    # as PreTrainedModel above
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    transforms = get_model_conversion_mapping(model, add_legacy=False)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    prefix, own = model.base_model_prefix, model.state_dict()
    return {name: rename_source_key(name, renamings, [], prefix, own)[0] for name in names}


def file_names(folder: Path, model: "PreTrainedModel") -> FileNames:
    """How the files of a base name the tensors of its model, and which belong to its towers."""
    if not is_whole(model.config):
        return FileNames()
    towers = towers_of(model).modules
    inside = names_in_model(model, weight_shapes(folder))
    others = [name for name, own in inside.items() if any(_is_in(own, tower) for tower in towers)]
    return FileNames({own: name for name, own in inside.items() if own != name}, frozenset(others))


def as_files(
    model: "PreTrainedModel", named: Iterable[tuple[str, Tensor]], source: Path
) -> Iterator[dict[str, Tensor]]:
    """The model's tensors as files have them, then those of ``source`` that are no part of it."""
    names = file_names(source, model)
    for name, tensor in named:
        yield {names[name]: tensor} if is_whole(model.config) else as_stored(model, {name: tensor})
    for name in sorted(names.others):
        yield {name: read_weight(source, name)}


def config_alone(config: PretrainedConfig) -> PretrainedConfig:
    """The config of the language model as a class of its own would have it."""
    if not is_whole(config):
        return config
    text = copy.deepcopy(config.get_text_config())
    text.tie_word_embeddings = config.tie_word_embeddings
    if not WHOLE_CLASSES[config.model_type].caps_scores:
        text.final_logit_softcapping = None
    text.quantization_config = getattr(config, "quantization_config", None)
    return text


def decoder_name(config: PretrainedConfig) -> str:
    """The dotted name of the decoder within its whole class; that of a plain class is `model`."""
    if not is_whole(config):
        return "model"
    model = empty_model(config)
    names: dict[object, str] = {module: name for name, module in model.named_modules()}
    return names[model.get_decoder()]


def stored_names(folder: Path, config: PretrainedConfig) -> dict[str, str]:
    """The name in a base's files of each tensor of its language model, by its name there."""
    names = list(weight_shapes(folder))
    if not is_whole(config):
        return {name: name for name in names}
    model = empty_model(config)
    others = file_names(folder, model).others
    inside = names_in_model(model, [name for name in names if name not in others])
    return {own: name for name, own in inside.items()}
