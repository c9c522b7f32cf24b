"""A base's weights on disk: read one at a time, and written as a derived base's folder."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tunesmith.core.errors import ModelError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def weight_files(folder: Path) -> list[Path]:
    """The files that a base's weights are loaded from, and no other copy that lies beside them."""
    index = folder / INDEX
    if index.is_file():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    whole = folder / WHOLE
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def read_weight(folder: Path, name: str) -> Tensor:
    """The tensor of this name; ModelError where the files lack it."""
    index = folder / INDEX
    paths = weight_files(folder)
    if index.is_file():
        file_of = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        paths = [folder / file_of[name]] if name in file_of else []
    for path in paths:
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118  (no mapping)
                tensor: Tensor = file.get_tensor(name)
                return tensor
    raise ModelError(f"{folder}: its files hold no tensor {name}.")


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a base's files, none of them read; by file and name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (no mapping)
                    shapes[name] = tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: damaged: {error}.", remedy="Copy it again.") from None
    return shapes


SHARD_BYTES = 500_000_000
_WEIGHTS = (
    *("*.safetensors", INDEX, "*.gguf"),
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx"),
)
TOKENIZER_FILES = (
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "*.model",
)


def write_derived(
    source: Path,
    into: Path,
    *,
    tensors: Iterable[Mapping[str, Tensor]],
    dtype: torch.dtype,
    config: Mapping[str, object],
    skip: Sequence[str] = (),
) -> None:
    """Fill the folder ``into`` with ``tensors`` in shards and the other files of ``source``.

    Each mapping of ``tensors`` lies in one file; they are taken one after the other, so that they
    need not all be in memory. ``config`` are keys of config.json that differ, ``skip`` patterns of
    files that are not carried over. A quantisation of ``source`` is not carried over either.
    """
    shards = _Shards(into)
    for group in tensors:
        shards.add(group)
    shards.close()
    left_out = {path for pattern in (*_WEIGHTS, *skip) for path in source.glob(pattern)}
    for path in source.iterdir():
        if path.is_file() and path not in left_out and not path.name.startswith("."):
            shutil.copyfile(path, into / path.name)
    values = json.loads((source / "config.json").read_text(encoding="utf-8"))
    for key in ("torch_dtype", "quantization_config"):
        values.pop(key, None)
    values |= {"dtype": number_format(dtype), **config}
    (into / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def number_format(dtype: torch.dtype) -> str:
    """The name of a number format in a config.json."""
    return str(dtype).removeprefix("torch.")


@dataclass(slots=True)
class _Shards:
    """Collects tensors and writes them in files of about SHARD_BYTES, named as others expect."""

    folder: Path
    held: dict[str, Tensor] = field(default_factory=dict)
    held_bytes: int = 0
    written: list[tuple[Path, list[str], int]] = field(default_factory=list)

    def add(self, tensors: Mapping[str, Tensor]) -> None:
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
        """Write the rest; where there are several files, the index that transformers reads."""
        if self.held or not self.written:
            self._write()
        if len(self.written) == 1:
            path, _, _ = self.written[0]
            path.rename(path.with_name(WHOLE))
            return
        names = dict(self._names())
        total = sum(size for _, _, size in self.written)
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": names}, indent=2)
        (self.folder / INDEX).write_text(text + "\n", encoding="utf-8")

    def _names(self) -> Iterator[tuple[str, str]]:
        for number, (path, names, _) in enumerate(self.written, start=1):
            target = path.with_name(f"model-{number:05d}-of-{len(self.written):05d}.safetensors")
            path.rename(target)
            yield from ((name, target.name) for name in names)
