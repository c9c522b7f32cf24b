"""What an adapter's adapter_config.json says, read without any library of tensors."""

import json
from pathlib import Path

from tunesmith.errors import AdapterError

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
