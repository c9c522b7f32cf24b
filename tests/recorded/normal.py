"""A document without what differs from run to run: folders, times, speeds, memory."""

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = "/recorded"  # stands for the folder that commands run in
MEASURED = "<measured>"  # stands for a number, or null where it could not be measured
# Bytes of an adapter's config, and of its folder, depend on the path of the base in it.
_MEASURED_KEYS = re.compile(r"second|bytes$|requests_by_time")
_MEASURED_PATHS = re.compile(r"(^|\.)(training\.(low|high)|files\.adapter_config\.json)$")
_DURATION = re.compile(
    r"(about )?[\d,.]+( to [\d,.]+)? (seconds?|minutes?|hours?)\b|less than a second|a second\b"
)
_SPEED = re.compile(r"[\d,.]+ (tokens/s|[MG]i?B)(?!\w)")
_KINDS = {bool: "<yes or no>", int: "<number>", float: "<number>", str: "<text>"}


def normal(value: object, root: Path, *, path: str = "") -> object:
    """``value`` with placeholders for ``root`` and for what was measured."""
    if isinstance(value, Mapping):
        return {
            key: normal(item, root, path=f"{path}.{key}".lstrip(".")) for key, item in value.items()
        }
    if isinstance(value, list):
        return [normal(item, root, path=path) for item in value]
    if isinstance(value, str):
        return normal_text(value, root)
    key = path.rpartition(".")[2]
    if _MEASURED_KEYS.search(key) or _MEASURED_PATHS.search(path):
        return MEASURED
    return value


def normal_text(text: str, root: Path) -> str:
    """A text with placeholders for ``root``, durations, speeds and amounts of memory."""
    text = text.replace(str(root.resolve()), ROOT)
    return _SPEED.sub("<amount>", _DURATION.sub("<time>", text))


def shape(value: object) -> object:
    """The keys of a document, and of each value only its kind."""
    if isinstance(value, Mapping):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return "<list>"
    return _KINDS.get(type(value), "<null>")
