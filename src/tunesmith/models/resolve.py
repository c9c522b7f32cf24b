"""From what a user writes after `--model` to a local folder that holds that base."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from tunesmith.errors import ModelError
from tunesmith.models.cache import Emit, ignore
from tunesmith.models.catalog import find_entry, known_names, nearest_name
from tunesmith.models.folder import check_folder
from tunesmith.models.gguf import convert_cached
from tunesmith.models.pull import pull

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*", "merges.txt", "vocab*")
_NEVER = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*/*")


def resolve(name: str, *, trust_remote_code: bool = False, emit: Emit = ignore) -> Path:
    """The folder of a base given as short name, folder, .gguf file or hub id.

    What is not here is fetched, what is GGUF is converted, both once. Raises ModelError that says
    what is wrong with the name or with what it names.
    """
    if find_entry(name) is not None:
        return pull(name, emit=emit)
    path = Path(name).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name!r} cannot be looked up: {error}.") from error
    if path.suffix.lower() == ".gguf" and not is_folder:
        return convert_cached(path, emit=emit)
    if is_folder:
        return check_folder(path)
    if is_file:
        raise ModelError(
            f"{name}: is a file, and not a .gguf one.",
            remedy="Name the folder which holds config.json and *.safetensors, or a .gguf file.",
        )
    if _HUB_ID.fullmatch(name):
        return _from_hub(name, trust_remote_code=trust_remote_code, emit=emit)
    raise ModelError(f"{name!r} is no folder, .gguf file or known name.", remedy=_other_ways(name))


def _from_hub(name: str, *, trust_remote_code: bool, emit: Emit) -> Path:
    """A snapshot of the repository without anything that can run code, unless that is trusted."""
    emit(f"Looking for {name} on the hub.")
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
            f"There is no folder {name}, and {reason}", remedy=_other_ways(name)
        ) from error
    return check_folder(Path(found))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."


def _other_ways(name: str) -> str:
    near = nearest_name(name)
    return (
        (f"Did you mean `{near}`? " if near else "")
        + f"A base is a short name ({', '.join(known_names())}), a folder with config.json and "
        + "*.safetensors, a .gguf file, or a hub id where the hub can be reached."
    )
