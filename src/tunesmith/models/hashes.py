"""The identity of a base: SHA-256 per file, remembered while a file is unchanged."""

import contextlib
import fnmatch
import hashlib
import json
import time
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.files import replace_text, sha256_of
from tunesmith.models import names
from tunesmith.models.cache import cache_root

COMBINED = "combined"
TOKENIZER_FILES = (
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "*.model",
)
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
    The folder is remembered too, so that ``names.known_folder`` finds it by the hash of all.
    """
    try:
        files = sorted({path for pattern in _DEFINING for path in folder.glob(pattern)})
        hashes = {path.name: file_sha256(path, fresh=fresh) for path in files if path.is_file()}
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error}.") from error
    if not hashes:
        raise ModelError(f"{folder}: holds no base (no config.json, no *.safetensors).")
    text = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    combined = hashlib.sha256(text.encode()).hexdigest()
    names.remember(folder, combined)
    return {**hashes, COMBINED: combined}


PARTS = ("weights", "tokenizer", "config")


def hash_parts(folder: Path) -> dict[str, str]:
    """SHA-256 of each of ``PARTS`` of the base in ``folder``: what sets two bases apart.

    The chat template belongs to the tokenizer, and Python code to the config. The version of
    transformers that wrote a config.json does not count, as it changes nothing.
    """
    hashes = hash_folder(folder)
    del hashes[COMBINED]
    lines: dict[str, list[str]] = {part: [] for part in PARTS}
    for name, digest in hashes.items():
        lines[_part_of(name)].append(f"{_content_sha256(folder / name, digest)}  {name}\n")
    return {
        part: hashlib.sha256("".join(all_).encode()).hexdigest() for part, all_ in lines.items()
    }


def _part_of(name: str) -> str:
    if name.endswith((".safetensors", ".safetensors.index.json")):
        return "weights"
    is_tokenizer = any(fnmatch.fnmatchcase(name, pattern) for pattern in TOKENIZER_FILES)
    return "tokenizer" if is_tokenizer else "config"


def _content_sha256(path: Path, digest: str) -> str:
    """Of a config its values without the version that wrote it; else ``digest``, of the bytes."""
    if path.name not in ("config.json", "generation_config.json"):
        return digest
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("transformers_version", None)
    except (OSError, ValueError, AttributeError):
        return digest
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


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
