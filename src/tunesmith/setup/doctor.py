"""What of this machine matters to a run: one page for a bug report."""

import os
import platform
import shutil
import sys
from pathlib import Path

import torch

from tunesmith import SPIN_COUNT, __version__, torch_came_first
from tunesmith.core import host_memory
from tunesmith.core.extras import version_of
from tunesmith.core.progress import usable_cores
from tunesmith.engine.memory import available_bytes
from tunesmith.models.cache import cache_root, folder_bytes
from tunesmith.models.catalog import list_models
from tunesmith.models.precision import detect_device, detect_dtype
from tunesmith.setup.features import features_of

_PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "gguf"),
    *("numpy", "pydantic", "peft"),
)
_CPU = torch.device("cpu")
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "svebf16")


def examine() -> dict[str, object]:
    """Processor, number format, memory, GPUs, cache and versions, as a JSON document."""
    device = detect_device()
    dtype, reason = detect_dtype("auto", device)
    processor = host_memory.processor()
    flags = (processor.get("flags") or processor.get("Features") or "").split()
    return {
        "platform": platform.platform(),
        "processor": {
            "name": processor.get("model name") or platform.processor() or platform.machine(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "usable_cores": usable_cores(),
            "threads": torch.get_num_threads(),
            "spin_count": None if torch_came_first else os.environ.get(SPIN_COUNT),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "bfloat16": sorted({*flags} & {*_BFLOAT16_FLAGS}),
        },
        "dtype": {"auto": str(dtype).removeprefix("torch."), "reason": reason},
        "memory": {
            "total_bytes": host_memory.total_bytes(),
            "available_bytes": available_bytes(_CPU),
        },
        "gpus": _gpus(),
        "features": features_of(device),
        "cache": _cache(),
        "disk": {"folder": str(Path.cwd()), "free_bytes": shutil.disk_usage(Path.cwd()).free},
        "versions": {
            "tunesmith": __version__,
            "python": platform.python_version(),
            **{package: version_of(package) for package in _PACKAGES},
        },
        "python": sys.executable,
    }


def _gpus() -> list[dict[str, object]]:
    if not torch.cuda.is_available():
        return []
    found: list[dict[str, object]] = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        _, reason = detect_dtype("auto", torch.device("cuda", number))
        found.append(
            {"name": properties.name, "bytes": properties.total_memory, "bfloat16": reason}
        )
    return found


def _cache() -> dict[str, object]:
    root = cache_root()
    return {
        "folder": str(root),
        "bytes": folder_bytes(root) if root.is_dir() else 0,
        "models": [model.name for model in list_models() if model.cached],
    }
