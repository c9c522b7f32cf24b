"""What do an adapter's config and origin say? Read without any library of tensors.

PEFT's own config names a base by what PEFT can load here, which is often a path; PEFT complains of
keys there that it does not know, and leaves other files alone.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tunesmith import __version__
from tunesmith.core.errors import AdapterError

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


FILE = "tunesmith.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """``base`` as the user named it, the SHA-256 of all its files, and the kind of the method."""

    base: str
    sha256: str
    kind: str


def write_origin(folder: Path, origin: Origin, **more: object) -> None:
    """Put it beside the adapter or model in ``folder``, with what ``more`` there is to say."""
    values = {
        "tunesmith": __version__,
        "base": {"name": origin.base, "sha256": origin.sha256},
        "method": {"kind": origin.kind},
        **more,
    }
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def read_origin(folder: Path) -> Origin | None:
    """What lies beside the result in ``folder``; None for one that came from elsewhere."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        base, method = values["base"], values["method"]
        return Origin(str(base["name"]), str(base["sha256"]), str(method["kind"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
