"""What a run starts from and leaves: the attached method, its environment, the saved result."""

import copy
import functools
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from tunesmith import __version__
from tunesmith.adapters import store
from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import DataSettings, RunConfig
from tunesmith.config.run import DataSource
from tunesmith.core import files
from tunesmith.data.records import files_of, options_of
from tunesmith.data.rows import HUB
from tunesmith.data.tokenizer import add_tokens_, encode
from tunesmith.engine import memory
from tunesmith.engine.forward import named_tensors
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter, NewTokens, Words
from tunesmith.models.hashes import COMBINED, file_sha256, hash_folder
from tunesmith.models.load import Base
from tunesmith.models.weights import read_weight, write_derived
from tunesmith.runs import continuation
from tunesmith.runs.folder import RunFolder

_PEFT = """
With PEFT: `AutoPeftModelForCausalLM.from_pretrained(FOLDER)` on the machine where it was trained.
Elsewhere load the base ({base}) first, then `PeftModel.from_pretrained(base, FOLDER)`.
"""
_RESIZE = """
It has tokens of its own. With PEFT, take the tokenizer of this folder and make room for them before
the adapter is loaded: `model.resize_token_embeddings(len(tokenizer))`.
"""
PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "bitsandbytes")


def start_model(config: RunConfig) -> str:
    """The model that is loaded: for `full` with a start, that start."""
    whole = table.of(config.method).trains_base
    return config.method.init if whole and config.method.init else config.model


def attach(loaded: LoadedBase, config: RunConfig, *, name: str = "default") -> Adapter:
    """The method's new adapter on the base, or the one that method.init continues from.

    An adapter with tokens of its own brings the tokenizer that reads them into ``opened``.
    """
    settings, engine = config.method, loaded.engine
    if (folder := continuation.start_folder(settings)) is not None:
        return continuation.attach(loaded, config, folder, name=name)
    tokens: NewTokens = {}
    method = table.of(settings)
    if method.own_tokens and (wanted := getattr(settings, "new_tokens", ())):
        tokenizer = copy.deepcopy(loaded.base.tokenizer)
        tokens = add_tokens_(tokenizer, wanted)
        loaded.tokenizers[name] = tokenizer
    text: list[int] = []
    if method.init_text and (words := getattr(settings, "init_text", None)):
        (text,) = encode(loaded.base.tokenizer, [words])
    given = Words(tokens, text, functools.partial(read_weight, loaded.base.folder))
    method.check(engine, settings)
    return table.attach(engine, settings, name=name, seed=config.train.seed, words=given)


def save(folder: RunFolder, loaded: LoadedBase, adapter: Adapter, config: RunConfig) -> Path:
    """Write adapter/ in PEFT's format, or model/ where the base itself was trained."""
    base = loaded.base
    origin = Origin(base.name, hash_folder(base.folder)[COMBINED], config.method.kind)
    if adapter.frozen_base:
        card = _card(config, base) + _PEFT.format(base=base.name)
        if tokenizer := loaded.tokenizers.get(adapter.name):
            card += _RESIZE

        def beside(into: Path) -> None:
            write_origin(into, origin)
            if tokenizer is not None:
                tokenizer.save_pretrained(into)

        store.save(
            folder.adapter,
            adapter,
            loaded.engine,
            base=base_name(base),
            card=card,
            beside=beside,
        )
        return folder.adapter

    def fill(into: Path) -> None:
        tensors = (
            {name: tensor.to(base.dtype) if tensor.is_floating_point() else tensor}
            for name, tensor in named_tensors(loaded.engine)
        )
        write_derived(base.folder, into, tensors=tensors, dtype=base.dtype, config={})
        (into / "README.md").write_text(_card(config, base), encoding="utf-8")
        write_origin(into, origin)

    files.publish(folder.model, fill)
    return folder.model


def base_name(base: Base) -> str:
    """How an adapter names its base, so that PEFT finds it here: a hub id, else its folder."""
    looks_like_hub = base.name.count("/") == 1 and not Path(base.name).exists()
    return base.name if looks_like_hub else str(base.folder.absolute())


def _card(config: RunConfig, base: Base) -> str:
    goal = f"{config.goal}\n\n" if config.goal else ""
    return (
        f"---\nbase_model: {base.name}\nlibrary_name: peft\n---\n\n{goal}"
        f"{config.method.kind} over {base.name}, trained on "
        f"{', '.join(source.path for source in config.data.sources)} with Tunesmith "
        f"{__version__}.\n\n"
        f"Talk to it: `tunesmith chat {config.out}`\n"
    )


def _data_sha256(source: DataSource, settings: DataSettings) -> str | dict[str, str]:
    """Of a file its hash, of a folder those of its data files; what a hub holds has none here."""
    name, options = source.path, options_of(settings, source)
    if not Path(name).is_dir():
        return "" if name.startswith(HUB) else file_sha256(Path(name))
    return {str(path): file_sha256(path) for path in files_of(name, options)}


def write_environment(path: Path, base: Base, config: RunConfig) -> None:
    """environment.json: versions, hardware, threads, hashes of base and data."""
    sources = [*config.data.sources, *([config.data.held] if config.data.held else [])]
    files.write_json(
        path,
        {
            "tunesmith": __version__,
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "device": str(base.device),
            "dtype": str(base.dtype).removeprefix("torch."),
            "available_bytes": memory.available_bytes(base.device),
            "base": {"name": base.name, "folder": str(base.folder), **hash_folder(base.folder)},
            "data": {each.path: _data_sha256(each, config.data) for each in sources},
        },
    )
