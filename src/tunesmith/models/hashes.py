"""The identity of a base: SHA-256 per file, remembered while a file is unchanged."""

import contextlib
import hashlib
import json
import time
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.files import replace_text, sha256_of
from tunesmith.models.cache import cache_root
from tunesmith.models.weights import TOKENIZER_FILES

COMBINED = "combined"
_DEFINING = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    *TOKENIZER_FILES,
    "*.py",
)
_SETTLED_SECONDS = 2.0


def hash_folder(folder: Path, *, fresh: bool = False) -> dict[str, str]:
    """SHA-256 of each file that defines the base in ``folder``, and of all under ``"combined"``.

    Other files (cards, images) do not count. A hash is remembered in the cache, never in the
    folder, while path, size and modification time stay the same; ``fresh`` reads every byte again.
    """
    try:
        files = sorted({path for pattern in _DEFINING for path in folder.glob(pattern)})
        hashes = {path.name: file_sha256(path, fresh=fresh) for path in files if path.is_file()}
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error}.") from error
    if not hashes:
        raise ModelError(f"{folder}: holds no base (no config.json, no *.safetensors).")
    text = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    return {**hashes, COMBINED: hashlib.sha256(text.encode()).hexdigest()}


def file_sha256(path: Path, *, fresh: bool = False) -> str:
    """SHA-256 of a file, remembered while its path, size and modification time stay."""
    memory, state = _memory(path), _state(path)
    if not fresh and (known := _recall(memory, state)) is not None:
        return known
    digest = sha256_of(path)
    # A file written this instant may change again without a new time stamp.
    settled = time.time() - path.stat().st_mtime > _SETTLED_SECONDS
    if settled and _state(path) == state:
        with contextlib.suppress(OSError):  # a read-only cache costs speed only
            replace_text(memory, json.dumps({**state, "sha256": digest}))
    return digest


def _memory(path: Path) -> Path:
    """One small file per hashed file, so that processes do not share one."""
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    return cache_root() / "hashes" / f"{key}.json"


def _state(path: Path) -> dict[str, str]:
    stat = path.stat()
    return {
        "path": str(path.resolve()),
        "size": str(stat.st_size),
        "mtime_ns": str(stat.st_mtime_ns),
        "inode": str(stat.st_ino),
    }


def _recall(memory: Path, state: dict[str, str]) -> str | None:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        matches = all(known[key] == value for key, value in state.items())
        return str(known["sha256"]) if matches else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
