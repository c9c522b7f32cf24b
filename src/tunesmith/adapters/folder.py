"""The files of an adapter's folder: its config, its origin, and its tensors, read one at a time.

Loading this file imports no library of tensors.

PEFT's own config names a base by what PEFT can load here, which is often a path; PEFT complains of
unknown keys there, and ignores other files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError, safe_open

from tunesmith import __version__
from tunesmith.core.errors import AdapterError

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "adapter_config.json"


def read_config(folder: Path) -> dict[str, object]:
    """adapter_config.json; raises AdapterError where there is none, or one that is no object."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        inside = sorted(each.parent.name for each in folder.glob(f"*/{CONFIG}"))
        raise AdapterError(
            f"{path}: cannot be read: {error}.",
            remedy=f"It holds adapters in {', '.join(inside)}: name one of these folders."
            if inside
            else "Give the folder of a PEFT adapter.",
        ) from None
    except ValueError as error:
        what = "is empty" if not path.stat().st_size else f"is no JSON: {error}"
        raise AdapterError(f"{path}: {what}.", remedy="Copy the folder again.") from None
    if not isinstance(config, dict):
        raise AdapterError(f"{path}: holds no JSON object.", remedy="Copy the folder again.")
    return config


def card_text(base: str, text: str, *, library: str = "peft") -> str:
    """A README, with the keys that model hubs read."""
    return f"---\nbase_model: {base}\nlibrary_name: {library}\n---\n\n{text}\n"


FILE = "tunesmith.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """``base`` as the user named it, the SHA-256 of all its files, and the kind of the method.

    ``system`` is the system message that its rows without one were trained under, if any.
    """

    base: str
    sha256: str
    kind: str
    system: str | None = None


def write_origin(folder: Path, origin: Origin, **more: object) -> None:
    """Write it into the folder of an adapter or model, with ``more`` keys."""
    values = {
        "tunesmith": __version__,
        "base": {"name": origin.base, "sha256": origin.sha256},
        "method": {"kind": origin.kind},
        **({"system": origin.system} if origin.system else {}),
        **more,
    }
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def read_origin(folder: Path) -> Origin | None:
    """The origin in the folder of an adapter or model; None for one from elsewhere."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        base, method = values["base"], values["method"]
        system = values.get("system")
        name, sha256, kind = str(base["name"]), str(base["sha256"]), str(method["kind"])
        return Origin(name, sha256, kind, str(system) if system else None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def system_of(folder: Path) -> str | None:
    """The system message that the adapter or model in a folder was trained under; None without."""
    origin = read_origin(folder)
    return None if origin is None else origin.system


def system_section(system: str) -> str:
    """What a card says of the system message that an adapter was trained under."""
    fence = "```"
    while fence in system:
        fence += "`"
    return (
        "It was trained under this system message. `tunesmith chat` sends it; elsewhere begin each "
        f"conversation with it.\n\n{fence}text\n{system}\n{fence}\n"
    )


TENSORS = "adapter_model.safetensors"
INDEX = f"{TENSORS}.index.json"  # of tensors in several files


class StoredTensors(Mapping[str, "Tensor"]):
    """The tensors of an adapter's folder by name, each read from its file when it is requested.

    They are in one file, or in several that an index names. Raises AdapterError for a file that is
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

    def __getitem__(self, name: str) -> "Tensor":
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
    """The files of the tensors; AdapterError for a file that is missing."""
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
