"""An adapter's folder for other programs: as PEFT loads it, or folded for vLLM and SGLang."""

import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from tunesmith.adapters import store
from tunesmith.adapters.folder import (
    CONFIG,
    INDEX,
    Origin,
    StoredTensors,
    read_config,
    read_own,
    write_origin,
)
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.methods import lora_peft, table
from tunesmith.methods.lora import Shape, key_a, key_b
from tunesmith.methods.lora_variants import shape
from tunesmith.models.names import portable_name

MERGE_INSTEAD = "Export the merged model: --to vllm --merged."
BASE = "base_model_name_or_path"
RENEWED = ("tunesmith", "base", "method", "files")  # of what was written about the adapter
# What `--max-lora-rank` of vLLM may be (vllm.config.lora.MaxLoRARanks, 0.14 to 0.22).
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def write_peft(
    folder: Path, out: Path, *, dtype: torch.dtype | None = None, origin: Origin | None = None
) -> None:
    """Write the adapter in ``folder`` again as ``out``, in one file and without other formats.

    Config, card, tokenizer and what Tunesmith wrote are copied; ``dtype`` is that of its tensors,
    None: as they are. ``origin`` replaces the one that was written, and names the base. Raises
    AdapterError for what this program cannot read.
    """
    config, tensors = read_config(folder), StoredTensors(folder)
    table.reader_of(config, folder).from_peft(config, tensors)
    copied = {name: _as(tensors[name], dtype) for name in tensors}
    _write(folder, out, config, copied, origin=origin)


def write_vllm(
    folder: Path, out: Path, *, dtype: torch.dtype | None = None, origin: Origin | None = None
) -> int:
    """Write a LoRA adapter so that vLLM and SGLang compute it as it was trained; its one rank.

    Both scale every layer by alpha / rank of the config and read no patterns; SGLang ignores rsLoRA
    too. Other scales are folded into B, and smaller ranks are padded with zeros to a value that
    vLLM's `--max-lora-rank` allows. ``origin`` is that of ``write_peft``. Raises AdapterError for
    what they refuse or ignore: other methods, DoRA, tokens of its own, ranks above theirs.
    """
    config, tensors = read_config(folder), StoredTensors(folder)
    settings = require_plain_lora(folder, "vLLM and SGLang", MERGE_INSTEAD)
    shapes = {module: shape(settings, module) for module in settings.targets}
    largest = max(each.rank for each in shapes.values())
    rank = next((each for each in VLLM_RANKS if each >= largest), None)
    if rank is None:
        raise AdapterError(
            f"{folder}: its rank {largest} is above the largest that vLLM takes, {VLLM_RANKS[-1]}.",
            remedy=MERGE_INSTEAD,
        )
    alpha = _alpha(shapes, rank)
    folded = dict(_folded(shapes, tensors, rank=rank, scale=alpha / rank))
    folded = {name: _as(tensor, dtype) for name, tensor in folded.items()}
    one = dict.fromkeys(shapes, Shape(rank, alpha, alpha / rank))
    targets = config.get("target_modules")
    if not isinstance(targets, list):
        targets = sorted({module.rpartition(".")[2] for module in shapes})
    described = lora_peft.described(one, targets) | {"revision": config.get("revision")}
    _write(folder, out, described, folded, origin=origin)
    return rank


def require_plain_lora(folder: Path, programs: str, merge_instead: str) -> LoraSettings:
    """The settings of a LoRA adapter that is A and B alone.

    Raises AdapterError for all else: ``programs`` cannot hold it.
    """
    settings = store.settings_of(folder)
    if not isinstance(settings, LoraSettings):
        other = "Serve it with tunesmith, or train the same data with method lora."
        raise AdapterError(
            f"{folder}: {programs} support LoRA only, not method {settings.kind}.",
            remedy=merge_instead if table.of(settings).mergeable else other,
        )
    odd = ["DoRA's magnitudes (use_dora)"] if settings.dora else []
    if settings.target_parameters:
        odd.append("terms on experts or routers (target_parameters)")
    if store.token_ids(folder):
        odd.append("rows for tokens of its own")
    if odd:
        raise AdapterError(
            f"{folder}: it has {' and '.join(odd)}, which {programs} do not support.",
            remedy=merge_instead,
        )
    return settings


def _alpha(shapes: Mapping[str, Shape], rank: int) -> float:
    """The one alpha: the one that leaves most layers' B unchanged, if it is whole.

    vLLM reads lora_alpha as an integer.
    """
    scales = [each.scale for each in shapes.values()]
    common = max(scales, key=scales.count) * rank
    return round(common) if math.isclose(common, round(common)) and round(common) else rank


def _folded(
    shapes: Mapping[str, Shape], tensors: Mapping[str, Tensor], *, rank: int, scale: float
) -> Iterator[tuple[str, Tensor]]:
    """A [rank, D_in] and B [D_out, rank] of each layer, to be counted ``scale`` times."""
    for module, each in shapes.items():
        a, b = tensors[key_a(module)], tensors[key_b(module)]
        missing = rank - each.rank
        if not math.isclose(each.scale, scale):
            b = (b.float() * (each.scale / scale)).to(b.dtype)
        yield key_a(module), torch.nn.functional.pad(a, (0, 0, 0, missing))
        yield key_b(module), torch.nn.functional.pad(b, (0, missing))


def _as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _write(
    folder: Path,
    out: Path,
    config: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    *,
    origin: Origin | None,
) -> None:
    """A folder of these tensors with what else is in ``folder``, and a record of its own."""
    written = str(read_config(folder).get("base_model_name_or_path") or "")
    base = origin.published if origin else portable_name(written)
    own = {key: value for key, value in read_own(folder).items() if key not in RENEWED}

    def beside(into: Path) -> None:
        for path in folder.iterdir():
            is_weights = path.suffix in (".safetensors", ".bin", ".pt") or path.name == INDEX
            if path.is_file() and not is_weights and path.name != CONFIG:
                shutil.copyfile(path, into / path.name)
        if origin is not None:
            write_origin(into, origin, **own)

    config = {key: value for key, value in config.items() if key != BASE}
    store.write(out, config, tensors, base=base, beside=beside)
