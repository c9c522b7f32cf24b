"""How a base is called: its hub id, its name without a path, and where it lies on this machine.

An adapter names its base by the first two, which mean the same everywhere. Where a base of some
content was last used here is kept in the cache. Loading this file imports no library of tensors.
"""

import contextlib
import json
import re
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.files import replace_text
from tunesmith.models import catalog
from tunesmith.models.cache import cache_root
from tunesmith.models.hub_bases import find_hub_base, hub_bases

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_CACHE = re.compile(r"models--([^/]+?)--([^/]+)")  # a folder of the hub's own cache


AUTO = "auto"
"""The model of a config that is still to be chosen (``runs.model_choice``)."""


def require_base_name(name: str) -> None:
    """Raise ModelError for what is no short name and no file or folder, unless the hub may have it.

    The hub has no OWNER/NAME where a folder of this name is here: then it is a path.
    """
    if name.lower() == AUTO:
        raise ModelError(
            "`auto` is chosen by the rows, so it is for train, compare, data check, data show and "
            "data curve only.",
            remedy="Name a base: `tunesmith model list` shows those that are known.",
        )
    known = catalog.find_entry(name) or find_hub_base(name)
    if known is not None or may_be_on_hub(name):
        return
    try:
        is_here = Path(name).expanduser().exists()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name!r} cannot be looked up: {error}.") from error
    if not is_here:
        raise ModelError(
            f"{name!r} is not a folder, .gguf file or known name.", remedy=other_sources(name)
        )


def may_be_on_hub(name: str) -> bool:
    """Whether a name that is not here has the form of a hub id, and is no path."""
    is_path = name.lower().endswith(".gguf") or name.startswith("runs/")
    return bool(_HUB_ID.fullmatch(name)) and not is_path and not Path(name).parent.is_dir()


def nearest(name: str) -> str | None:
    """The short name that was probably meant: one that needs no hub first."""
    return catalog.nearest_name(
        name, [*catalog.known_names(), *(base.name for base in hub_bases())]
    )


def other_sources(name: str) -> str:
    """What a base can be, and the short name that is nearest."""
    known, near = catalog.known_names(), nearest(name)
    return (
        f"{f'Did you mean `{near}`? ' if near else ''}"
        f"A base is a short name ({', '.join(known)}, or one of `tunesmith model list` where the "
        "hub can be reached), a folder with config.json and *.safetensors, a .gguf file, or a hub "
        "id where the hub can be reached."
    )


def is_hub_id(name: str) -> bool:
    """Whether a name is OWNER/NAME, and not a path that exists here."""
    return _HUB_ID.fullmatch(name) is not None and not Path(name).expanduser().exists()


def hub_id_of(name: str, folder: Path | None = None) -> str | None:
    """The hub id of the base of this name, which lies in ``folder``; None where none is known.

    A short name has one, and so have folders of the hub's cache and of a converted short name.
    """
    if (entry := catalog.find_entry(name) or find_hub_base(name)) is not None:
        return entry.hub_id
    if is_hub_id(name):
        return name
    for place in (Path(name).expanduser(), *([folder] if folder else [])):
        for entry in catalog.ENTRIES:
            if place.absolute() == entry.folder:
                return entry.hub_id
        for part in place.parts:
            if found := _HUB_CACHE.fullmatch(part):
                return "/".join(found.groups())
    return None


def portable_name(name: str) -> str:
    """A base's name without the folders that lead to it: a short name, a hub id, a folder's name.

    Paths of other systems, and those that do not exist here, are shortened too.
    """
    if catalog.find_entry(name) is not None or is_hub_id(name):
        return name
    written = name.replace("\\", "/").rstrip("/")
    last = written.rpartition("/")[2]
    return last if last not in ("", ".", "..", "~") else Path(name).expanduser().resolve().name


def remember(folder: Path, sha256: str) -> None:
    """Keep in the cache that the base with this SHA-256 of all its files lies in ``folder``."""
    place = str(folder.resolve())
    with contextlib.suppress(OSError):  # a read-only cache finds no base by its hash
        if _read(sha256) != place:
            replace_text(_memory(sha256), json.dumps({"folder": place}) + "\n")


def known_folder(sha256: str) -> Path | None:
    """Where the base with this SHA-256 was last used; None where it is not there any more."""
    place = _read(sha256)
    folder = Path(place) if place else None
    return folder if folder is not None and (folder / "config.json").is_file() else None


def _memory(sha256: str) -> Path:
    return cache_root() / "bases" / f"{sha256}.json"


def _read(sha256: str) -> str | None:
    try:
        return str(json.loads(_memory(sha256).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
