"""A tiny job: random rows, tiny model, in a folder."""

import numpy as np

from tests.families import tiny_model
from tunesmith.config import FullSettings, LoraSettings, TrainSettings
from tunesmith.config.methods import PTuningSettings
from tunesmith.data.dataset import block_of, dataset_of
from tunesmith.data.rows import TokenRow
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.runs.folder import RunFolder
from tunesmith.training import optimizer
from tunesmith.training.job import Job
from tunesmith.training.steps import Plan

METHODS = {
    "lora": LoraSettings(rank=2),
    "lora dropout": LoraSettings(rank=2, dropout=0.3),
    "full": FullSettings(),
    "projection": PTuningSettings(tokens=3, projection=8),
}


def dataset(count=12, seed=0, longest=20):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, longest, count)
    weights = np.concatenate([np.r_[0.0, rng.integers(0, 2, n - 2), 1.0] for n in lengths])
    ids = rng.integers(3, 97, lengths.sum()).astype(np.int32)
    ends = lengths.cumsum()[:-1]
    pairs = zip(np.split(ids, ends), np.split(weights.astype(np.float32), ends), strict=True)
    rows = [TokenRow(*pair, "rows.jsonl", line) for line, pair in enumerate(pairs, start=1)]
    return dataset_of([block_of(rows, range(count), ["rows.jsonl"])], ["rows.jsonl"])


def tiny_job(folder, method="lora", *, held=True, family="llama", **settings):
    import torch

    engine = prepare_(tiny_model(family, torch.float32))
    adapter = table.attach(engine, METHODS[method], seed=1)
    values = {"rows_per_step": 3, "save_steps": 2, "lr": 1e-2, "epochs": None, **settings}
    return Job(
        engine=engine,
        adapter=adapter,
        rows=dataset(),
        held=dataset(5, seed=9) if held else None,
        settings=TrainSettings(**values),
        folder=folder,
        keep_plan=RunFolder(folder).write_plan,
    )


def plan(steps=9, **changes):
    values = {
        "steps": steps,
        "warmup": 2,
        "lr": 1e-2,
        "tokens_per_micro_batch": 25,
        "recompute": "none",
        "peak_bytes": 0,
        "seconds_per_token": 0.0,
    }
    return Plan(**{**values, **changes})


def adam(job):
    train = job.settings
    averages = train.average_window > 0
    kind = train.optimizer
    return optimizer.build(job.adapter, lr=1e-2, weight_decay=0.1, kind=kind, averages=averages)


def tensors(job):
    return {name: p.detach().clone() for name, p in job.adapter.parameters.items()}
