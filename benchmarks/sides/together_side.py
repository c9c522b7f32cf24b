"""LoRA adapters of several ranks on W1's rows, trained together over one base (or one alone)."""

import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoTokenizer

from benchmarks.measure import peak_bytes, side_options
from benchmarks.sides.tunesmith_side import as_dataset, ends_of
from benchmarks.workload import DOCUMENTS
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config import LoraSettings, TrainSettings
from tunesmith.methods import table
from tunesmith.training import optimizer
from tunesmith.training.events import StepDone
from tunesmith.training.job import Job, Member
from tunesmith.training.loop import train
from tunesmith.training.measure import make_plan, plan_beside


def main() -> None:
    """Train and print the JSON line: seconds of each round, losses by rank, peak."""
    parser = side_options(__doc__)
    parser.add_argument("--ranks", required=True, help="2,8,64")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    steps = DOCUMENTS[given.documents](AutoTokenizer.from_pretrained(given.model), given.steps)
    loaded = open_base(given.model, dtype=given.dtype)
    settings = TrainSettings(steps=len(steps), rows_per_step=len(steps[0]), save_steps=len(steps))
    rows = as_dataset([document for step in steps for document in step])
    ranks = [int(rank) for rank in given.ranks.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            Job(
                engine=loaded.engine,
                adapter=table.attach(loaded.engine, LoraSettings(rank=rank), name=f"rank {rank}"),
                rows=rows,
                held=None,
                settings=settings,
                folder=Path(folder) / str(rank),
                fixed_steps=ends_of(steps),
            )
            for rank in ranks
        ]
        rates = [1e-4 * (1 + rank % 5) for rank in ranks]
        adams = [
            optimizer.build(job.adapter, lr=lr, weight_decay=0.0)
            for job, lr in zip(jobs, rates, strict=True)
        ]
        plan = make_plan(jobs[-1], lr=rates[-1])
        members = [
            Member(job, plan_beside(job, plan, lr=lr), adam)
            for job, lr, adam in zip(jobs, rates, adams, strict=True)
        ]
        losses: dict[str, list[float]] = {str(rank): [] for rank in ranks}
        seconds = [0.0] * len(steps)
        for member, event in train(members):
            if isinstance(event, StepDone):
                rank = ranks[members.index(member)]
                losses[str(rank)].append(event.loss)
                tokens = sum(len(document.ids) for document in steps[event.step - 1])
                seconds[event.step - 1] += tokens / event.tokens_per_second
    result = {"step_seconds": seconds, "losses": losses, "peak_bytes": peak_bytes()}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
