"""One step of LoRA or QLoRA on random documents: memory from loading to the end, and seconds.

`anonymous_bytes` is the peak of RssAnon: what the process holds itself, mapped files not counted.
`--copied` copies the base's weights out of their mapped files, as they lie in a GPU's memory.
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import peak_bytes
from benchmarks.sides.tunesmith_side import as_dataset
from benchmarks.workload import Encoded
from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.config import LoraSettings, TrainSettings
from tunesmith.config.run import RECOMPUTE
from tunesmith.data.dataset import Dataset
from tunesmith.methods import table
from tunesmith.training import optimizer
from tunesmith.training.events import StepDone
from tunesmith.training.job import Job, Member
from tunesmith.training.loop import train
from tunesmith.training.steps import Plan

SECONDS_BETWEEN_LOOKS = 0.02
DOCUMENT_TOKENS = 256


class Watch(threading.Thread):
    """Looks at RssAnon again and again; ``peak`` is the most that it saw."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until the end."""
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Look once."""
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
        self.peak = max(self.peak, now)

    def end(self) -> int:
        """The peak."""
        self._ended.set()
        self.look()
        return self.peak


def main() -> None:
    """Load, take the steps, print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--kind", choices=("lora", "qlora"), default="qlora")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recompute", choices=RECOMPUTE, default="layers")
    parser.add_argument("--copied", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    opened = open_base(given.model, dtype="bfloat16", four_bit=given.kind == "qlora")
    if given.copied:
        for parameter in opened.base.model.parameters():
            parameter.data = parameter.data.clone()
    loaded, loaded_peak = time.perf_counter() - start, watch.peak
    seconds, losses = _train(opened, given)
    result = {
        "kind": given.kind,
        "tokens": given.tokens,
        "load_seconds": loaded,
        "load_anonymous_bytes": loaded_peak,
        "step_seconds": seconds,
        "anonymous_bytes": watch.end(),
        "peak_bytes": peak_bytes(),
        "losses": losses,
    }
    print(json.dumps(result), flush=True)


def _train(opened: LoadedBase, given: argparse.Namespace) -> tuple[list[float], list[float]]:
    adapter = table.attach(opened.engine, LoraSettings(kind=given.kind))
    count = max(1, given.tokens // DOCUMENT_TOKENS) * given.steps
    settings = TrainSettings(
        steps=given.steps,
        rows_per_step=count // given.steps,
        save_steps=given.steps + 1,
    )
    plan = Plan(
        steps=given.steps + 1,  # so that nothing is saved
        warmup=0,
        lr=2e-4,
        tokens_per_micro_batch=given.tokens,
        recompute=given.recompute,
        peak_bytes=10**12,
        seconds_per_token=1.0,
    )
    seconds, losses = [], []
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(count, len(opened.engine.head_weight))
        job = Job(opened.engine, adapter, rows, None, settings, Path(folder))
        adam = optimizer.build(adapter, lr=plan.lr, weight_decay=0.0)
        for _, event in train([Member(job, plan, adam)]):
            if isinstance(event, StepDone):
                seconds.append(given.tokens / event.tokens_per_second)
                losses.append(event.loss)
                if event.step == given.steps:
                    break
    return seconds, losses


def _rows(count: int, vocabulary: int) -> Dataset:
    drawn = np.random.default_rng(0).integers(3, vocabulary, (count, DOCUMENT_TOKENS))
    supervised = [i > 0 for i in range(DOCUMENT_TOKENS)]
    return as_dataset([Encoded(ids, supervised) for ids in drawn.tolist()])


if __name__ == "__main__":
    main()
