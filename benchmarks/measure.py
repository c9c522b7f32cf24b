"""What does a side report? One JSON line: speed without the first steps, peak memory, losses."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.workload import DOCUMENTS

# The first steps allocate, choose kernels and fill caches.
UNCOUNTED_STEPS = 2


@dataclass(slots=True)
class StepLog:
    """Seconds, real tokens and mean loss (nats per supervised token) of each optimizer step."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def peak_bytes() -> int:
    """The largest resident size of this process so far.

    VmHWM, as getrusage's figure is inherited from the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def print_result(name: str, log: StepLog) -> None:
    """Print the JSON line; with no more than the uncounted steps, speed is null."""
    seconds, tokens = sum(log.seconds[UNCOUNTED_STEPS:]), sum(log.tokens[UNCOUNTED_STEPS:])
    result = {
        "name": name,
        "tokens_per_second": tokens / seconds if seconds else None,
        "peak_bytes": peak_bytes(),
        "losses": log.losses,
        "step_seconds": log.seconds,
        "step_tokens": log.tokens,
    }
    print(json.dumps(result), flush=True)


def side_options(
    description: str | None, documents: Sequence[str] = tuple(DOCUMENTS)
) -> argparse.ArgumentParser:
    """The options that every side understands, with the kinds of documents that this one can."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help="folder of the base")
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps of 8 documents")
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    parser.add_argument("--documents", choices=documents, default="rows")
    return parser


def method_options(description: str | None, precisions: Sequence[str]) -> argparse.ArgumentParser:
    """The options of a side that can train either method, from a start and at another rate."""
    parser = side_options(description)
    parser.add_argument("--precision", choices=precisions, default="bf16")
    start = parser.add_mutually_exclusive_group()  # full fine-tuning trains no adapter
    start.add_argument("--full", action="store_true", help="train every weight, without LoRA")
    start.add_argument("--adapter", type=Path, help="a PEFT adapter folder to start from")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--constant-lr", action="store_true", help="instead of linear decay")
    return parser
