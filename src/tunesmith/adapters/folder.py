"""The files of an adapter's folder: its config, its origin, and its tensors, read one at a time.

Loading this file imports no library of tensors.

PEFT complains of unknown keys in its own config, and ignores other files: what Tunesmith knows of
an adapter is in one of its own, with the SHA-256 of each file that belongs to the adapter.
"""

import fnmatch
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError, safe_open

from tunesmith import __version__
from tunesmith.core.errors import AdapterError
from tunesmith.core.files import sha256_of
from tunesmith.models.names import hub_id_of, portable_name

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


def own_name(folder: Path) -> str:
    """An adapter's name without the folders above it: that of its run where it lies in one."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == "adapter" else whole.name


CARD = "README.md"
FILE = "tunesmith.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """The base that an adapter or a model was made from, and the kind of the method.

    ``base`` is its short name, hub id, or its folder's name; ``sha256`` that of all its files and
    ``parts`` of ``models.hashes.PARTS``, empty as earlier versions wrote it. ``hub_id`` None: it
    is not known. ``system`` is the system message that its rows without one were trained under, if
    any, and ``template_options`` the variables of the chat template that rows were rendered with.
    """

    base: str
    sha256: str
    kind: str
    hub_id: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None
    template_options: Mapping[str, object] = field(default_factory=dict)

    @property
    def published(self) -> str:
        """How other programs know the base: by its hub id, else by its name."""
        return self.hub_id or portable_name(self.base)


def write_origin(folder: Path, origin: Origin | None, **more: object) -> None:
    """Write it into the folder of an adapter or model, with ``more`` keys."""
    values: dict[str, object] = {"tunesmith": __version__}
    if origin is not None:
        base = {"name": origin.base, "hub_id": origin.hub_id, "sha256": origin.sha256}
        values["base"] = {**base, **({"parts": dict(origin.parts)} if origin.parts else {})}
        values["method"] = {"kind": origin.kind}
        if origin.system:
            values["system"] = origin.system
        if origin.template_options:
            values["template_options"] = dict(origin.template_options)
    _write_own(folder, {**values, **more})


def read_origin(folder: Path) -> Origin | None:
    """The origin in the folder of an adapter or model; None for one from elsewhere."""
    try:
        values = read_own(folder)
        base, kind, system = values["base"], str(values["method"]["kind"]), values.get("system")
        name, parts = str(base["name"]), dict(base.get("parts") or {})
        hub_id = base.get("hub_id") or hub_id_of(name)
        said = str(system) if system else None
        options = dict(values.get("template_options") or {})
        return Origin(name, str(base["sha256"]), kind, hub_id, parts, said, options)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def system_of(folder: Path) -> str | None:
    """The system message that the adapter or model in a folder was trained under; None without."""
    origin = read_origin(folder)
    return None if origin is None else origin.system


def template_options_of(folder: Path) -> Mapping[str, object]:
    """The chat template's variables that an adapter's rows were rendered with; none: {}."""
    origin = read_origin(folder)
    return {} if origin is None else origin.template_options


def options_section(options: Mapping[str, object]) -> str:
    """What a card says of the chat template's variables that an adapter was trained with."""
    return (
        "Its rows were rendered with these variables of the chat template. `tunesmith chat` sets "
        "them; elsewhere give them to `apply_chat_template`, or as `chat_template_kwargs`.\n\n"
        f"```json\n{json.dumps(dict(options), ensure_ascii=False)}\n```\n"
    )


def system_section(system: str) -> str:
    """What a card says of the system message that an adapter was trained under."""
    fence = "```"
    while fence in system:
        fence += "`"
    return (
        "It was trained under this system message. `tunesmith chat` sends it; elsewhere begin each "
        f"conversation with it.\n\n{fence}text\n{system}\n{fence}\n"
    )


def read_own(folder: Path) -> Mapping[str, Any]:
    """All that Tunesmith wrote about an adapter or model; nothing where it came from elsewhere."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _write_own(folder: Path, values: Mapping[str, object]) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


# Notes for people may be added or changed: nothing reads them.
NOTES = ("*.md", "LICENSE*", "LICENCE*", "NOTICE*", ".*")
NOTE_HASHES = "notes"  # the key of their SHA-256 in what was pushed, where they must arrive whole


def is_note(name: str) -> bool:
    """Whether a file is a note for people, and none of the system's hidden ones."""
    return not name.startswith(".") and any(fnmatch.fnmatchcase(name, each) for each in NOTES)


def recordable(folder: Path) -> list[Path]:
    """The files of an adapter or model that a record holds: all but itself and ``NOTES``."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and path.name != FILE
        and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in NOTES)
    )


def record_files(folder: Path) -> None:
    """Add the SHA-256 of each file to what Tunesmith wrote; nothing where it wrote nothing."""
    if (folder / FILE).is_file():
        hashes = {path.name: sha256_of(path) for path in recordable(folder)}
        _write_own(folder, {**read_own(folder), "files": hashes})


def recorded_files(folder: Path) -> Mapping[str, str] | None:
    """SHA-256 of each file as it was written; None where none was recorded."""
    files = read_own(folder).get("files")
    return files if isinstance(files, dict) else None


def names_in(record: Mapping[str, Any]) -> frozenset[str]:
    """The files that `tunesmith.json` names, itself and the card included; none without hashes."""
    if not isinstance(record.get("files"), Mapping):
        return frozenset()
    notes = record.get(NOTE_HASHES)
    named = {*record["files"], *(notes if isinstance(notes, Mapping) else ())}
    return frozenset(name for name in named if Path(name).name == name) | {FILE, CARD}


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
