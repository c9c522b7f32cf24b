"""What the last bit of a result depends on besides the program."""

import platform
from importlib.metadata import version
from pathlib import Path

ARITHMETIC = ("torch", "numpy", "bitsandbytes", "capability", "threads", "vendor", "machine")
PACKAGES = (
    *("transformers", "tokenizers", "safetensors", "jinja2", "pyarrow", "peft", "gguf"),
    *("charset-normalizer", "python-calamine", "lancedb"),
)


def facts() -> dict[str, str]:
    """Versions, processor and threads of this process."""
    import torch

    return {
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "bitsandbytes": version("bitsandbytes"),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "vendor": _vendor(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def changed(recorded: dict[str, str], names: tuple[str, ...]) -> list[str]:
    """Which of these facts differ from the recorded ones, for people."""
    now = facts()
    return [
        f"{name} was {recorded.get(name)}, is {now[name]}"
        for name in names
        if recorded.get(name) != now[name]
    ]


def _vendor() -> str:
    """Of the processor: libraries choose their kernels by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(found, platform.processor())
