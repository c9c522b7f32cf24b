"""A base's weights on disk: read one at a time, and written as a derived base's folder."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tunesmith.core.errors import ModelError
from tunesmith.models.layout import read_converted

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class FileNames:
    """How the files of a base name the tensors of a model that is a part of its class.

    ``of`` gives the name in the files by the model's, where the two differ. ``others`` are the
    tensors of the files that are no part of the model; a derived folder keeps them as they are.
    """

    of: Mapping[str, str] = field(default_factory=dict)
    others: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> str:
        """The name in the files."""
        return self.of.get(name, name)


SAME_NAMES = FileNames()


def weight_files(folder: Path, name: str | None = None) -> list[Path]:
    """The files that a base's weights are loaded from, without other copies in its folder.

    ``name``: only those that may hold the tensor of this name.
    """
    index = folder / INDEX
    if index.is_file():
        file_of = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {file for tensor, file in file_of.items() if name in (None, tensor)}
        return [folder / file for file in sorted(files)]
    whole = folder / WHOLE
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def read_weight(folder: Path, name: str, names: FileNames = SAME_NAMES) -> Tensor:
    """The tensor of this name in transformers' model; ModelError where the files lack it."""
    found = _stored(folder, names[name])
    if found is None:
        found = read_converted(folder, list(weight_shapes(folder)), name, partial(_read, folder))
    if found is None:
        raise ModelError(f"{folder}: its files hold no tensor {name}.")
    return found


def _read(folder: Path, name: str) -> Tensor:
    """A tensor that the files have under this name."""
    found = _stored(folder, name)
    assert found is not None
    return found


def _stored(folder: Path, name: str) -> Tensor | None:
    for path in weight_files(folder, name):
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118  (no mapping)
                tensor: Tensor = file.get_tensor(name)
                return tensor
    return None


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


_FORMATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def stored_dtype(folder: Path) -> torch.dtype:
    """The number format of most weights in a base's files, by their headers; float32 for none."""
    numbers: Counter[str] = Counter()
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                piece = file.get_slice(name)
                numbers[piece.get_dtype()] += math.prod(piece.get_shape())
    found = [kind for kind, _ in numbers.most_common() if kind in _FORMATS]
    return _FORMATS[found[0]] if found else torch.float32


_QUANTIZATION = "quantization_config"  # of a config.json, beside the parts of a model
SHARD_BYTES = 500_000_000
_WEIGHTS = (
    *("*.safetensors", INDEX, "*.gguf"),
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx"),
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

    Each mapping of ``tensors`` is stored in one file; they are read one after the other, so that
    not all need be in memory. ``config`` are keys of config.json that differ, those of the language
    model included, ``skip`` patterns of files that are not copied. A quantization of ``source`` is
    not copied either.
    """
    shards = _Shards(into)
    for group in tensors:
        shards.add(group)
    shards.close()
    skipped = {path for pattern in (*_WEIGHTS, *skip) for path in source.glob(pattern)}
    for path in source.iterdir():
        if path.is_file() and path not in skipped and not path.name.startswith("."):
            shutil.copyfile(path, into / path.name)
    values = json.loads((source / "config.json").read_text(encoding="utf-8"))
    for key in ("torch_dtype", _QUANTIZATION):
        values.pop(key, None)
    text = values.get("text_config", values)
    values["dtype"] = text["dtype"] = number_format(dtype)
    for key, value in config.items():
        (values if key == _QUANTIZATION else text)[key] = value
    (into / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def number_format(dtype: torch.dtype) -> str:
    """The name of a number format in a config.json."""
    return str(dtype).removeprefix("torch.")


@dataclass(slots=True)
class _Shards:
    """Collects tensors and writes them in files of about SHARD_BYTES, named as others expect."""

    folder: Path
    held: dict[str, Tensor] = field(default_factory=dict)
    written: list[tuple[Path, list[str]]] = field(default_factory=list)
    total_bytes: int = 0

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Take tensors that must be in one file."""
        self.held |= {name: tensor.contiguous() for name, tensor in tensors.items()}
        if sum(tensor.nbytes for tensor in self.held.values()) >= SHARD_BYTES:
            self._write()

    def _write(self) -> None:
        path = self.folder / f"part-{len(self.written) + 1:05d}.safetensors"
        save_file(self.held, path, metadata={"format": "pt"})
        self.written.append((path, list(self.held)))
        self.total_bytes += sum(tensor.nbytes for tensor in self.held.values())
        self.held = {}

    def close(self) -> None:
        """Write the rest; where there are several files, the index that transformers reads."""
        if self.held or not self.written:
            self._write()
        if len(self.written) == 1:
            path, _ = self.written[0]
            path.rename(path.with_name(WHOLE))
            return
        file_of: dict[str, str] = {}
        for number, (path, names) in enumerate(self.written, start=1):
            target = path.with_name(f"model-{number:05d}-of-{len(self.written):05d}.safetensors")
            file_of |= dict.fromkeys(names, path.rename(target).name)
        index = {"metadata": {"total_size": self.total_bytes}, "weight_map": file_of}
        (self.folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
