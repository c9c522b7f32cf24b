"""Single weights out of a base's files, without loading the others."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunesmith.errors import ModelError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_weight(folder: Path, name: str) -> Tensor:
    """The tensor of this name; ModelError where the files lack it."""
    index = folder / INDEX
    paths = sorted(folder.glob("*.safetensors"))
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
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (no mapping)
                    shapes[name] = tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: damaged: {error}.", remedy="Copy it again.") from None
    return shapes
