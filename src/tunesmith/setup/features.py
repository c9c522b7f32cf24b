"""Which features of this machine's device are used, which are not, and why."""

import os
from dataclasses import asdict, dataclass

import torch

from tunesmith.core.errors import ModelError
from tunesmith.engine.memory import keeps_freed_memory
from tunesmith.engine.varlen import obstacle
from tunesmith.models.four_bit import has_same_codes, require_kernels
from tunesmith.models.precision import COUNTS, detect_dtype

_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
# What no test of Tunesmith has ever run on (docs/gpu.md).
_CUDA = "only on CUDA"
_NEVER_RUN = "Tunesmith was never run on one (docs/gpu.md)"


@dataclass(frozen=True, slots=True)
class Feature:
    """A device or a feature of it; ``reason`` for why it is used or not."""

    name: str
    used: bool
    reason: str


def features_of(device: torch.device) -> list[dict[str, object]]:
    """Devices that there are, then what a run on ``device`` uses, as JSON."""
    return [asdict(each) for each in (*_devices(device), *_features(device))]


def _devices(device: torch.device) -> list[Feature]:
    found = []
    for kind, count in COUNTS.items():
        if kind == "cpu":
            continue
        if not count():
            reason = "torch sees none"
        elif kind == device.type:
            reason = f"the first one is used; {_NEVER_RUN}"
        else:
            reason = f"only with --device {kind}; {_NEVER_RUN}"
        found.append(Feature(kind, kind == device.type, reason))
    return found


def _features(device: torch.device) -> list[Feature]:
    dtype, reason = detect_dtype("auto", device)
    on_cuda, is_half = device.type == "cuda", dtype == torch.float16
    are_set = any("expandable_segments:True" in os.environ.get(n, "") for n in _ALLOCATOR)
    return [
        Feature(str(dtype).removeprefix("torch."), True, reason.partition(": ")[2]),
        Feature(
            "loss scaling", is_half, "float16 needs it" if is_half else "only float16 needs it"
        ),
        _four_bit(device),
        Feature(
            "products over 4-bit codes",
            on_cuda,
            "for answers, where bitsandbytes has it faster" if on_cuda else _CUDA,
        ),
        _attention(device, dtype),
        Feature(
            "ordered sums",
            on_cuda,
            "the same run gives the same bytes" if on_cuda else f"{_CUDA}; a CPU needs no switch",
        ),
        Feature("pinned memory", on_cuda, "one copy for each stream" if on_cuda else _CUDA),
        Feature("expandable segments", on_cuda and are_set, _segments(on_cuda, are_set)),
        _freed_memory(device),
    ]


def _attention(device: torch.device, dtype: torch.dtype) -> Feature:
    name, reason = "attention in one call", obstacle(device, dtype)
    if reason:
        return Feature(name, False, f"{reason}; documents are computed one by one")
    reason = "torch's FlashAttention; layers with soft caps or wider heads than 256 are without it"
    return Feature(name, True, reason)


def _segments(on_cuda: bool, are_set: bool) -> str:
    if not on_cuda:
        return _CUDA
    return "memory falls to pieces less" if are_set else f"{_ALLOCATOR[0]} is set otherwise"


def _freed_memory(device: torch.device) -> Feature:
    name = "kept free memory"
    if device.type != "cpu":
        return Feature(name, False, "only on a CPU")
    if keeps_freed_memory():
        return Feature(name, True, "glibc reuses it")
    return Feature(name, False, "the C library is not glibc")


def _four_bit(device: torch.device) -> Feature:
    try:
        require_kernels(device)
    except ModelError as error:
        return Feature("4-bit bases", False, str(error).partition(": ")[2])
    reason = "bitsandbytes works here"
    if device.type != "cpu":
        same = has_same_codes(device)
        reason += ", with the codes of a CPU" if same else ", with codes of its own, cached apart"
    return Feature("4-bit bases", True, reason)
