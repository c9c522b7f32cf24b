"""A base's folder to one whose linear layers are in 4 bit, once, read in blocks of rows."""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from tunesmith.counts import many
from tunesmith.errors import ModelError
from tunesmith.files import require_space
from tunesmith.models.cache import Emit, cache_root, publish
from tunesmith.models.four_bit import quantize, require_kernels, tensors_of
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.weights import INDEX

SHARD_BYTES = 500_000_000
_WEIGHTS = ("*.safetensors", INDEX, "*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf")


def quantized(folder: Path, config: PretrainedConfig, *, dtype: torch.dtype, emit: Emit) -> Path:
    """The 4-bit copy of a base's folder in the cache, made there if it is not; one for each dtype.

    Loads as any pre-quantised folder does, in transformers too. Raises ModelError where it cannot
    be made.
    """
    require_kernels()
    digest = hash_folder(folder)[COMBINED][:12]
    number = str(dtype).removeprefix("torch.")
    target = cache_root() / "four_bit" / f"{folder.name}-{digest}-nf4-{number}"
    fill = functools.partial(_fill, folder, config, dtype, emit)
    return publish(target, fill=fill, emit=emit)


def _fill(
    source: Path, config: PretrainedConfig, dtype: torch.dtype, emit: Emit, into: Path
) -> None:
    files = sorted(source.glob("*.safetensors"))
    require_space(into, sum(path.stat().st_size for path in files) // 2)
    linears = _linears(config)
    shards = _Shards(into)
    found = set()
    for number, path in enumerate(files, start=1):
        emit(f"Quantising {path.name} to 4 bit, once ({number} of {len(files)}).")
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                layer = name.removesuffix(".weight")
                if layer in linears:
                    found.add(layer)
                    piece = file.get_slice(name)
                    shape = tuple(piece.get_shape())
                    shards.add(tensors_of(name, quantize(shape, _reader(piece, dtype))))
                else:
                    tensor = file.get_tensor(name)
                    shards.add({name: tensor.to(dtype) if tensor.is_floating_point() else tensor})
    if absent := sorted(linears - found):
        raise ModelError(
            f"{source}: its files have other names for {many(len(absent), 'linear layer')}: "
            f"{', '.join(absent[:3])}.",
            remedy="Load it with transformers and save it again, or use method lora.",
        )
    shards.close()
    _copy_others(source, into)
    _write_config(source, into, dtype)


def _reader(piece: "object", dtype: torch.dtype) -> Callable[[int, int], Tensor]:
    def read(start: int, stop: int) -> Tensor:
        rows: Tensor = piece[start:stop]  # type: ignore[index]  (safetensors leaves it untyped)
        return rows.to(dtype)

    return read


def _linears(config: PretrainedConfig) -> frozenset[str]:
    """The names of all linear layers but the head."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    modules = model.named_modules()
    return frozenset(n for n, m in modules if isinstance(m, nn.Linear) and m is not head)


@dataclass(slots=True)
class _Shards:
    """Collects tensors and writes them in files of about SHARD_BYTES."""

    folder: Path
    held: dict[str, Tensor] = field(default_factory=dict)
    held_bytes: int = 0
    written: list[tuple[Path, list[str], int]] = field(default_factory=list)

    def add(self, tensors: dict[str, Tensor]) -> None:
        """Take tensors that must lie in one file."""
        self.held |= {name: tensor.contiguous() for name, tensor in tensors.items()}
        self.held_bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        if self.held_bytes >= SHARD_BYTES:
            self._write()

    def _write(self) -> None:
        path = self.folder / f"part-{len(self.written) + 1:05d}.safetensors"
        save_file(self.held, path, metadata={"format": "pt"})
        self.written.append((path, list(self.held), self.held_bytes))
        self.held, self.held_bytes = {}, 0

    def close(self) -> None:
        """Write the rest, and the index that transformers reads."""
        if self.held:
            self._write()
        names = dict(self._names())
        total = sum(size for _, _, size in self.written)
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": names}, indent=2)
        (self.folder / INDEX).write_text(text + "\n", encoding="utf-8")

    def _names(self) -> Iterator[tuple[str, str]]:
        for number, (path, names, _) in enumerate(self.written, start=1):
            target = path.with_name(f"model-{number:05d}-of-{len(self.written):05d}.safetensors")
            path.rename(target)
            yield from ((name, target.name) for name in names)


def _copy_others(source: Path, into: Path) -> None:
    """Tokenizer, generation config, template and licences stay as they are."""
    weights = {path for pattern in _WEIGHTS for path in source.glob(pattern)}
    for path in source.iterdir():
        if path.is_file() and path not in weights and not path.name.startswith("."):
            shutil.copyfile(path, into / path.name)


def _write_config(source: Path, into: Path, dtype: torch.dtype) -> None:
    number = str(dtype).removeprefix("torch.")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = number
    config.pop("torch_dtype", None)
    config["quantization_config"] = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_compute_dtype": number,
        "llm_int8_skip_modules": ["lm_head"],
    }
    text = json.dumps(config, indent=2) + "\n"
    (into / "config.json").write_text(text, encoding="utf-8")
