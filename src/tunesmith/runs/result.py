"""What a run starts from and ends with: base, new or continued adapter, environment, result."""

import copy
import functools
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tunesmith import __version__
from tunesmith.adapters import store
from tunesmith.adapters.fit import Identity
from tunesmith.adapters.folder import (
    CARD,
    read_origin,
    record_files,
    template_options_of,
    write_origin,
)
from tunesmith.adapters.loaded_base import (
    LoadedBase,
    attach_over_any,
    lend_template,
    open_base,
    with_template_options,
)
from tunesmith.config import DataSettings, RunConfig
from tunesmith.config.methods import AnyMethod, init_path, needs_four_bit
from tunesmith.config.run import DataSource
from tunesmith.core import files
from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import version_of
from tunesmith.core.numbers import percent
from tunesmith.core.progress import Progress
from tunesmith.data.chat_text import with_options
from tunesmith.data.dataset import RunRows
from tunesmith.data.quality.distribution import languages_of
from tunesmith.data.records import files_of, options_of, place_of
from tunesmith.data.rows import HUB, in_source
from tunesmith.data.tokenizer import Tokenizer, add_tokens_, decode, encode
from tunesmith.engine import memory
from tunesmith.engine.device import describe
from tunesmith.engine.forward import Engine, named_tensors
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter, NewTokens, Words
from tunesmith.methods.peft import Difference
from tunesmith.models.hashes import COMBINED, file_sha256, hash_folder
from tunesmith.models.in_memory import held_model, own_weights_
from tunesmith.models.load import Base, read_tokenizer
from tunesmith.models.text_part import as_files, file_names
from tunesmith.models.weights import number_format, read_weight, write_derived
from tunesmith.runs.card import licence_of, run_card, teacher_of
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.inputs import require_init

PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "bitsandbytes")


def open_for(config: RunConfig, *, progress: Progress) -> LoadedBase:
    """The base that a config trains over, in the format that its method asks for.

    For `full` with a start it is that start.
    """
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    progress.phase(f"loading {config.model}")
    trains_base = table.of(config.method).trains_base
    loaded = open_base(
        config.method.init if trains_base and config.method.init else config.model,
        dtype=config.dtype,
        device=config.device,
        four_bit=needs_four_bit(config.method.kind),
        trust_remote_code=config.trust_remote_code,
        progress=progress,
    )
    loaded = with_template_options(loaded, config.data.template_options)
    if trains_base and held_model(loaded.base.folder):
        own_weights_(loaded.base.model)
    return loaded


def base_weights(config: RunConfig, base: Base, *, progress: Progress) -> Mapping[str, Tensor]:
    """The base's weights by name as they were before it was trained, read again onto the CPU.

    Beside a base that was trained an accelerator has no room for a second one.
    """
    if base.device.type != "cpu":
        changes = {"device": "cpu", "dtype": number_format(base.dtype)}
        config = config.model_copy(update=changes)
    return dict(open_for(config, progress=progress).engine.model.named_parameters())


def attach(loaded: LoadedBase, config: RunConfig, *, name: str = "default") -> Adapter:
    """The method's new adapter on the base, or the one that method.init continues from.

    An adapter with tokens of its own brings the tokenizer that reads them into ``loaded``. Raises
    what ``resolved`` does, and ConfigError for every key that asks for another adapter than that.
    """
    settings, engine = config.method, loaded.engine
    if (folder := start_folder(settings)) is not None:
        settings = resolved(config).method
        differing = _differing_tokens(settings, folder)
        adapter = attach_over_any(loaded, folder, name=name, settings=settings, differing=differing)
        if name in loaded.tokenizers:
            own, options = loaded.tokenizers[name], config.data.template_options
            loaded.tokenizers[name] = with_options(own, options)
        return adapter
    tokens: NewTokens = {}
    method = table.of(settings)
    if method.own_tokens and (wanted := getattr(settings, "new_tokens", ())):
        tokenizer = copy.deepcopy(loaded.base.tokenizer)
        tokens = add_tokens_(tokenizer, wanted)
        loaded.tokenizers[name] = tokenizer
    text: list[int] = []
    if method.init_text and (words := getattr(settings, "init_text", None)):
        (text,) = encode(loaded.base.tokenizer, [words])
    names = file_names(loaded.base.folder, loaded.base.model)
    original = functools.partial(read_weight, loaded.base.folder, names=names)
    given = Words(tokens, text, original)
    method.check(engine, settings)
    return table.attach(engine, settings, name=name, seed=config.train.seed, words=given)


def start_folder(settings: AnyMethod) -> Path | None:
    """The folder of the adapter to continue from; None for another start, or a whole model's.

    Raises ConfigError where there is no such folder.
    """
    require_init(settings)
    path = init_path(settings)
    folder = Path(path or "").expanduser()
    return folder if path and table.METHODS[settings.kind].peft else None


def resolved(config: RunConfig) -> RunConfig:
    """The config with the adapter's own values for what it leaves out of `method`, and template.

    Raises ConfigError for a folder that is missing or holds an adapter of another kind,
    AdapterError for one that cannot be read. Keys that are given are compared by ``attach``.
    """
    asked = config.method
    folder = start_folder(asked)
    if folder is None:
        return config
    found = store.settings_of(folder)
    if table.METHODS[found.kind].peft is not table.METHODS[asked.kind].peft:
        raise ConfigError(
            f"method.kind is {asked.kind}, and {folder}, which method.init continues from, is an "
            f"adapter of kind {found.kind}.",
            remedy=f"Set method.kind to {found.kind}, or leave method.init out.",
        )
    given = {key for key in asked.model_fields_set if getattr(asked, key) is not None}
    left_out = found.model_fields_set - given - {"kind", "init"}
    values: dict[str, object] = {key: getattr(found, key) for key in left_out}
    if "new_tokens" not in given and (texts := token_texts(folder)):
        values["new_tokens"] = texts
    data = config.data
    options = template_options_of(folder)
    if options and "template_options" not in data.model_fields_set:
        data = data.model_copy(update={"template_options": dict(options)})
    return config.model_copy(update={"method": asked.model_copy(update=values), "data": data})


def other_base(config: RunConfig, base: Base) -> str | None:
    """That the adapter to continue from was trained over another base; None if it was not."""
    folder = start_folder(config.method)
    origin = None if folder is None else read_origin(folder)
    if origin is None:
        return None
    was, now = (needs_four_bit(kind) for kind in (origin.kind, config.method.kind))
    if was != now:
        before, after = ("4-bit" if four_bit else "16-bit or wider" for four_bit in (was, now))
        return f"{folder} was trained over a {before} base, and continues over a {after} one"
    if origin.sha256 != hash_folder(base.folder)[COMBINED]:
        return f"{folder} was trained over {origin.base}, and continues over another base"
    return None


def notes_on_start(
    config: RunConfig, loaded: LoadedBase, adapter: Adapter
) -> Iterator[tuple[str, str]]:
    """What of a base an adapter leaves out, and that it began over another: codes and texts."""
    for note in notes_on_experts(loaded.engine, adapter):
        yield "experts", note
    if other := other_base(config, loaded.base):
        yield "other_base", other
    if lent := lend_template(loaded, adapter.name):
        yield "base", lent


def notes_on_experts(engine: Engine, adapter: Adapter) -> Iterator[str]:
    """What of a mixture's experts an adapter with terms leaves out, and what 4-bit leaves."""
    stacks = {name: seam.weight.numel() for name, seam in engine.experts.items()}
    if not stacks or not any(adapter.name in seam.terms for seam in engine.seams.values()):
        return
    layers = {f"{name}.weight": each for name, each in engine.linears.items()}
    rest = (p.numel() for name, p in engine.model.named_parameters() if name not in layers)
    total = sum(each.in_features * each.out_features for each in layers.values()) + sum(rest)
    left = [name for name in stacks if adapter.name not in engine.experts[name].terms]
    if left:
        which = "experts are" if len(left) == len(stacks) else f"{len(left)} stacks of experts are"
        share = percent(sum(stacks[name] for name in left) / total)
        names = ", ".join(dict.fromkeys(f"experts.{name.rpartition('.')[2]}" for name in left))
        how = f"; --method.target_parameters '[{names}]' adds terms to them"
        is_open = hasattr(adapter.settings, "target_parameters")
        yield f"{which} not among the targets: {share} of the parameters{how * is_open}"
    if any(linear.four_bit for linear in engine.linears.values()):
        share = percent(sum(stacks.values()) / total)
        yield (
            "experts stay in 16-bit precision, as 4-bit is for linear layers: "
            f"{share} of the parameters"
        )


def token_texts(folder: Path) -> tuple[str, ...]:
    """The adapter's own tokens, each as a text that its tokenizer reads as this one token."""
    ids = store.token_ids(folder)
    if not ids:
        return ()
    tokenizer = read_tokenizer(folder, trust_remote_code=False)
    texts = [decode(tokenizer, [token]) for token in ids]
    return tuple(
        text if encode(tokenizer, [text]) == [[token]] else tokenizer.convert_ids_to_tokens(token)
        for text, token in zip(texts, ids, strict=True)
    )


def _differing_tokens(settings: AnyMethod, folder: Path) -> list[Difference]:
    """Tokens that are asked for and are not the adapter's own."""
    if not table.of(settings).own_tokens:
        return []
    wanted: tuple[str, ...] = getattr(settings, "new_tokens", ())
    there = store.token_ids(folder)
    asked: set[int] = set()
    if there:
        tokenizer: Tokenizer = read_tokenizer(folder, trust_remote_code=False)
        asked = {_id(tokenizer, text) for text in wanted}
    if asked == set(there) and bool(wanted) == bool(there):
        return []
    return [Difference("new_tokens", wanted, token_texts(folder))]


def _id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a text that is one token."""
    (ids,) = encode(tokenizer, [text])
    return ids[0] if len(ids) == 1 else tokenizer.convert_tokens_to_ids(text)


def save(folder: RunFolder, loaded: LoadedBase, adapter: Adapter, config: RunConfig) -> Path:
    """Write adapter/ in PEFT's format, or model/ where the base itself was trained."""
    base = loaded.base
    origin = Identity(base.name, base.folder).origin(config.method.kind)
    data = config.data
    origin = replace(origin, system=data.system, template_options=data.template_options)
    card = run_card(folder, origin)
    if adapter.frozen_base:
        tokenizer = loaded.tokenizers.get(adapter.name)

        def beside(into: Path) -> None:
            write_origin(into, origin)
            if tokenizer is not None:
                tokenizer.save_pretrained(into)

        store.save(
            folder.adapter,
            adapter,
            loaded.engine,
            base=origin.published,
            card=card,
            beside=beside,
        )
        return folder.adapter

    def fill(into: Path) -> None:
        named = (
            (name, tensor.to(base.dtype) if tensor.is_floating_point() else tensor)
            for name, tensor in named_tensors(loaded.engine)
        )
        tensors = as_files(base.model, named, base.folder)
        write_derived(base.folder, into, tensors=tensors, dtype=base.dtype, config={})
        if data.template_options:
            base.tokenizer.save_pretrained(into)
        (into / CARD).write_text(card, encoding="utf-8")
        write_origin(into, origin)
        record_files(into)

    files.publish(folder.model, fill)
    return folder.model


def data_sha256(source: DataSource, settings: DataSettings) -> str | dict[str, str]:
    """Of a file its hash, of a folder those of its data files; what a hub holds has none here."""
    name, options = source.path, options_of(settings, source)
    if name.startswith(HUB):
        return ""
    place = place_of(name)
    if not place.is_dir():
        return file_sha256(place)
    return {
        in_source(str(path).removeprefix(str(place)), name): file_sha256(path)
        for path in files_of(name, options)
    }


def write_environment(path: Path, base: Base, config: RunConfig, rows: RunRows) -> None:
    """environment.json: versions, hardware, threads, base and data with their hashes, rows."""
    sources = [*config.data.sources, *([config.data.held] if config.data.held else [])]
    wrote = {each.path: teacher_of(each.path) for each in sources}
    teachers = {path: teacher for path, teacher in wrote.items() if teacher}
    files.write_json(
        path,
        {
            "tunesmith": __version__,
            "python": platform.python_version(),
            "packages": {name: version_of(name) for name in PACKAGES},
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "device": str(base.device),
            **({} if base.device.type == "cpu" else {"accelerator": describe(base.device)}),
            "dtype": str(base.dtype).removeprefix("torch."),
            "available_bytes": memory.available_bytes(base.device),
            "base": {"name": base.name, "folder": str(base.folder), **hash_folder(base.folder)},
            "data": {each.path: data_sha256(each, config.data) for each in sources},
            "licences": {each.path: licence_of(config.data, each.path) for each in sources},
            **({"teachers": teachers} if teachers else {}),
            "rows": {
                "train": len(rows.train),
                "supervised_tokens": rows.train.supervised_tokens,
                "held_out": len(rows.held) if rows.held else 0,
                "languages": languages_of(rows.sample),
            },
        },
    )
