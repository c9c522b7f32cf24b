"""What lies in an adapter's folder: its config, and its tensors, one read at a time."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunesmith.errors import AdapterError

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def read_config(folder: Path) -> dict[str, object]:
    """adapter_config.json; raises AdapterError where there is none, or one that is no object."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{path}: cannot be read: {error}.", remedy="Give the folder of a PEFT adapter."
        ) from None
    if not isinstance(config, dict):
        raise AdapterError(f"{path}: holds no JSON object.")
    return config


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of an adapter's folder by name, each read from the file when it is asked for.

    Raises AdapterError for a file that is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TENSORS
        if not self._path.is_file():
            pickled = (folder / "adapter_model.bin").exists()
            raise AdapterError(
                f"{self._path} is missing"
                f"{'; adapter_model.bin is a pickle, which can run code' * pickled}.",
                remedy="Save it again with PEFT's save_pretrained, which writes safetensors.",
            )
        try:
            self._file = cast(Any, safe_open(self._path, framework="pt"))
            self._names = dict.fromkeys(self._file.keys())
        except (SafetensorError, OSError) as error:
            raise self._damaged(error) from None

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise self._damaged(error) from None
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the file's header alone."""
        return tuple(self._file.get_slice(name).get_shape())

    def _damaged(self, error: Exception) -> AdapterError:
        return AdapterError(
            f"{self._path}: damaged: {error}.",
            remedy="Copy it again, or take an earlier checkpoint.",
        )
