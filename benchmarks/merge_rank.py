"""`python -m benchmarks.merge_rank RUN RUN`: what cutting a merge to a rank costs.

Every method's combination of the runs' adapters is merged into the base (in fp32) as it is, then
written as an adapter of falling ranks; the held-out answers of each run are read with all of them.
A line has the method, the rank, the error that `adapters merge` prints (||D - s B A|| / ||D||), and
for each run how many nats a token the cut adds: the loss at this rank minus that of the whole.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from tunesmith.adapters import combine_rules, combined
from tunesmith.adapters.combined import Combination, Fit
from tunesmith.adapters.loaded_base import LoadedBase, attach_folder
from tunesmith.core.progress import SILENT
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.runs.result import open_for
from tunesmith.studies.merge import named
from tunesmith.studies.tasks import Task, read_task, runs_of

KINDS = ("ties", "dare", "magnitude", "sce")
RANKS = (64, 32, 16, 8)
ROWS = 30  # held-out answers of a run, as `studies.tasks` reads them


def main() -> int:
    """Print a table of tabs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of two or more runs over one base")
    adapters = named(parser.parse_args().runs)
    runs = runs_of(adapters.folders)
    first = next(iter(runs.configs.values())).model_copy(update={"dtype": "float32"})
    loaded = open_for(first, progress=SILENT)
    found = [
        read_task(name, config, loaded, limit=ROWS, progress=SILENT)
        for name, config in runs.configs.items()
    ]
    tasks = {task.name: task for task in found if isinstance(task, Task)}

    def losses(adapter: str | None) -> dict[str, float]:
        return {
            name: statistics.mean(losses_of_rows(loaded, task.rows, adapter=adapter))
            for name, task in tasks.items()
        }

    for kind in KINDS:
        combination = adapters.blend.combination(combine_rules.made(kind, None))
        with _merged(loaded, combination):
            whole = losses(None)
        for rank in RANKS:
            with tempfile.TemporaryDirectory() as scratch:
                made = combined.save(Path(scratch, "made"), combination, Fit(rank=rank))
                adapter = attach_folder(loaded, made.folder, name="made")
                cut = losses("made")
                adapter.detach()
            added = "\t".join(f"{name} {cut[name] - whole[name]:+.3f}" for name in cut)
            sys.stdout.write(f"{kind}\t{rank}\t{made.errors.overall:.3f}\t{added}\n")
            sys.stdout.flush()
    return 0


@contextlib.contextmanager
def _merged(loaded: LoadedBase, combination: Combination) -> Iterator[None]:
    """Inside, the base's weights have the whole combination added."""
    parameters = dict(loaded.engine.model.named_parameters())
    changes = combination.changes(loaded.engine)
    kept = {name: parameters[name].detach().clone() for name in changes}
    with torch.no_grad():
        for name, change in changes.items():
            parameters[name].copy_(change(kept[name].float()))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in kept.items():
                parameters[name].copy_(weight)


if __name__ == "__main__":
    sys.exit(main())
