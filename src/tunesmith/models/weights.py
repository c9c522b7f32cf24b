"""Single weights out of a base's files, without loading the others."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunesmith.errors import ModelError

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
