"""Tunesmith on the same documents: LoRA or full fine-tuning through the packed stream."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from benchmarks.measure import StepLog, method_options, print_result
from benchmarks.workload import DOCUMENTS, Encoded
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.config import FullSettings, LoraSettings, TrainSettings
from tunesmith.data.dataset import Dataset, block_of, dataset_of
from tunesmith.data.rows import TokenRow
from tunesmith.methods import table
from tunesmith.models.precision import DtypeChoice
from tunesmith.training import optimizer
from tunesmith.training.events import StepDone
from tunesmith.training.job import Job, Member
from tunesmith.training.loop import train
from tunesmith.training.measure import make_plan

PRECISIONS = ("bf16", "fp32")
FILE = "benchmark"


@dataclass(frozen=True, slots=True)
class Options:
    """How to train; ``adapter`` is a PEFT folder to start from."""

    precision: str
    full: bool
    four_bit: bool
    adapter: Path | None
    lr: float
    constant_lr: bool
    tokens_per_micro_batch: int


def main() -> None:
    """Train and print the JSON line."""
    parser = method_options(__doc__, PRECISIONS)
    parser.add_argument("--qlora", action="store_true", help="over the base in 4 bit")
    parser.add_argument("--tokens-per-micro-batch", type=int, default=0, help="0: auto")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    steps = DOCUMENTS[given.documents](tokenizer, given.steps)
    options = Options(
        precision=given.precision,
        full=given.full,
        four_bit=given.qlora,
        adapter=given.adapter,
        lr=given.lr,
        constant_lr=given.constant_lr,
        tokens_per_micro_batch=given.tokens_per_micro_batch,
    )
    log = train_steps(given.model, steps, options)
    print_result(f"Tunesmith {'full' if given.full else 'lora'} {given.precision}", log)


def train_steps(model: str, steps: Sequence[Sequence[Encoded]], options: Options) -> StepLog:
    """Train on each step's documents by the product's own loop, with its own plan."""
    dtype: DtypeChoice = "bfloat16" if options.precision == "bf16" else "float32"
    loaded = open_base(model, dtype=dtype, four_bit=options.four_bit)
    log = StepLog()
    with tempfile.TemporaryDirectory() as folder:
        job = _job(loaded, steps, options, Path(folder))
        adam = optimizer.build(job.adapter, lr=options.lr, weight_decay=0.0)
        plan = replace(make_plan(job, lr=options.lr), warmup=0)
        for _, event in train([Member(job, plan, adam)]):
            if isinstance(event, StepDone):
                log.losses.append(event.loss)
                tokens = sum(len(d.ids) for d in steps[event.step - 1])
                log.tokens.append(tokens)
                log.seconds.append(tokens / event.tokens_per_second)
    return log


def _job(
    loaded: LoadedBase, steps: Sequence[Sequence[Encoded]], options: Options, folder: Path
) -> Job:
    """The documents as rows, and the steps that were given in place of drawn ones."""
    documents = [document for step in steps for document in step]
    settings = {
        "steps": len(steps),
        "rows_per_step": len(steps[0]),
        "schedule": "constant" if options.constant_lr else "linear",
        "save_steps": len(steps),
        "tokens_per_micro_batch": options.tokens_per_micro_batch or "auto",
    }
    engine = loaded.engine
    if options.adapter is not None:
        adapter = store.load(engine, options.adapter)
    else:
        adapter = table.attach(engine, FullSettings() if options.full else LoraSettings())
    return Job(
        engine=engine,
        adapter=adapter,
        rows=as_dataset(documents),
        held=None,
        settings=TrainSettings.model_validate(settings),
        folder=folder,
        fixed_steps=ends_of(steps),
    )


def ends_of(steps: Sequence[Sequence[Encoded]]) -> tuple[tuple[int, ...], ...]:
    """The rows of each step, where they lie one step behind the other."""
    ends = np.cumsum([len(step) for step in steps]).tolist()
    return tuple(tuple(range(end - len(step), end)) for end, step in zip(ends, steps, strict=True))


def as_dataset(documents: Sequence[Encoded]) -> Dataset:
    """The documents as the rows of a run."""
    rows = [
        TokenRow(np.asarray(d.ids, np.int32), np.asarray(d.supervised, np.float32), FILE, line)
        for line, d in enumerate(documents, start=1)
    ]
    return dataset_of([block_of(rows, range(len(rows)), [FILE])], [FILE])


if __name__ == "__main__":
    main()
