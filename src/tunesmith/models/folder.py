"""Whether a folder is a base that can be loaded safely, and if not, what to do about it."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tunesmith.errors import ModelError

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PICKLE_REMEDY = (
    "Opening a pickle file can run code, so it is never done. If you trust its source, convert it: "
    "`safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors', "
    "metadata={'format': 'pt'})`."
)


def check_folder(folder: Path) -> Path:
    """``folder``, if it holds a config and whole safetensors; else ModelError with every fault."""
    names = _listing(folder)
    if "adapter_config.json" in names and "config.json" not in names:
        raise ModelError(f"{folder}: is an adapter{_base_of(folder)}.", remedy="Name its base.")
    weights = sorted(folder.glob("*.safetensors"))
    faults = [] if "config.json" in names else ["there is no config.json"]
    faults += [fault for path in weights if (fault := _tensor_fault(path))]
    faults += _missing_shards(folder, names)
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    remedy = "A base is a folder with config.json, *.safetensors and a tokenizer."
    if not weights and pickles:
        faults.append(f"its weights are pickle files ({', '.join(pickles[:3])})")
        remedy = _PICKLE_REMEDY
    elif not weights:
        faults.append("there are no *.safetensors")
    if faults:
        raise ModelError(f"{folder}: {'; '.join(faults)}.", remedy=remedy)
    return folder


def _listing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror}.") from error


def _tensor_fault(path: Path) -> str | None:
    """Why a safetensors file cannot be used; its header says how long the file must be."""
    try:
        with safe_open(path, framework="numpy"):
            return None
    except (SafetensorError, OSError, ValueError) as error:
        return f"{path.name} is damaged, cut short or unreadable ({error})"


def _missing_shards(folder: Path, names: frozenset[str]) -> list[str]:
    """Files that an index of shards names and that are not there."""
    index = folder / "model.safetensors.index.json"
    if index.name not in names:
        return []
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return [f"{index.name} cannot be read ({error})"]
    missing = sorted(map(str, shards - names))
    if not missing:
        return []
    return [f"missing shards ({len(missing)} of {len(shards)}): {', '.join(missing[:3])}"]


def _base_of(adapter: Path) -> str:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        return f", made for {config['base_model_name_or_path']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
