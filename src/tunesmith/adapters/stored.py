"""What lies in an adapter's folder: its config, and its tensors, one read at a time."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunesmith.core.errors import AdapterError

TENSORS = "adapter_model.safetensors"
INDEX = f"{TENSORS}.index.json"  # of tensors in several files


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of an adapter's folder by name, each read from its file when it is asked for.

    They lie in one file, or in several that an index names. Raises AdapterError for a file that is
    missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, tuple[Path, Any]] = {}
        for path in _files(folder):
            try:
                file = cast(Any, safe_open(path, framework="pt"))
                self._places |= dict.fromkeys(file.keys(), (path, file))
            except (SafetensorError, OSError) as error:
                raise _damaged(path, error) from None

    def __getitem__(self, name: str) -> Tensor:
        path, file = self._places[name]
        try:
            tensor: Tensor = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from None
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from its file's header alone."""
        return tuple(self._places[name][1].get_slice(name).get_shape())


def _files(folder: Path) -> list[Path]:
    """Where the tensors lie; AdapterError for a file that is missing."""
    whole, index = folder / TENSORS, folder / INDEX
    if whole.is_file():
        return [whole]
    if index.is_file():
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            paths = [folder / Path(str(name)).name for name in dict.fromkeys(named)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(index, error) from None
        if lost := [path.name for path in paths if not path.is_file()]:
            raise AdapterError(
                f"{folder}: {', '.join(lost)} missing, which {INDEX} names.",
                remedy="Copy the whole folder again.",
            )
        return paths
    pickled = (folder / "adapter_model.bin").exists()
    raise AdapterError(
        f"{whole} is missing{'; adapter_model.bin is a pickle, which can run code' * pickled}.",
        remedy="Save it again with PEFT's save_pretrained, which writes safetensors.",
    )


def _damaged(path: Path, error: Exception) -> AdapterError:
    return AdapterError(
        f"{path}: damaged: {error}.", remedy="Copy it again, or take an earlier checkpoint."
    )
