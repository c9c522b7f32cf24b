"""A LoRA adapter on all linear layers of a 7B model, merged from its files: peak and time."""

import argparse
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.llama_shape import SHAPES, write
from tunesmith.adapters import merge, store
from tunesmith.adapters.folder import Origin
from tunesmith.adapters.loaded_base import open_skeleton
from tunesmith.adapters.merge import Target
from tunesmith.engine.forward import Engine
from tunesmith.methods import lora_peft
from tunesmith.methods.lora import Shape, key_a, key_b
from tunesmith.models.resolve import resolve

RANK, ALPHA = 16, 32
EVERY_SECONDS = 0.05


class PeakAnonymous:
    """The largest RssAnon of this process while it is entered: mapped files do not count."""

    def __enter__(self) -> "PeakAnonymous":
        self.bytes, self._ends = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ends.wait(EVERY_SECONDS):
            self.bytes = max(self.bytes, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def anonymous_bytes() -> int:
    """RssAnon now."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this system does not tell RssAnon")


def make_adapter(skeleton: Engine, folder: Path, base: Path) -> None:
    """A random adapter beside every linear layer."""
    g = torch.Generator().manual_seed(1)

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for name, linear in skeleton.linears.items():
            yield key_a(name), 0.02 * torch.randn(RANK, linear.in_features, generator=g)
            yield key_b(name), 0.02 * torch.randn(linear.out_features, RANK, generator=g)

    shapes = {name: Shape(RANK, ALPHA, ALPHA / RANK) for name in skeleton.linears}
    targets = sorted({name.rpartition(".")[2] for name in shapes})
    config = lora_peft.described(shapes, targets)
    store.write(folder, config, dict(tensors()), base=str(base))


def main() -> None:
    """Make the model and the adapter below FOLDER, merge, tell, remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SHAPES, default="7b")
    parser.add_argument("--keep", action="store_true", help="leave the folders there")
    given = parser.parse_args()
    base, adapter, out = (given.folder / name for name in ("base", "adapter", "merged"))
    if not base.is_dir():
        write(given.size, base, resolve("smollm2-135m-instruct"))
    _, skeleton = open_skeleton(str(base))
    if not adapter.is_dir():
        make_adapter(skeleton, adapter, base)
    before, start = anonymous_bytes(), time.perf_counter()
    with PeakAnonymous() as peak:
        origin = Origin(str(base), "0", "lora")
        done = merge.save_stored(skeleton, adapter, Target(out, source=base, origin=origin))
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "size": given.size,
                "layers": len(skeleton.linears),
                "merged_bytes": done.bytes,
                "seconds": round(seconds, 1),
                "rss_anon_before": before,
                "rss_anon_peak": peak.bytes,
            }
        )
    )
    if not given.keep:
        shutil.rmtree(given.folder)
        print(f"{given.folder} removed", file=sys.stderr)


if __name__ == "__main__":
    main()
