"""`python -m benchmarks.merge_rank RUN RUN`: what cutting a merge to a rank costs.

Every method's combination of the runs' adapters is written with falling ranks, and the held-out
answers of each run are read with it. A line has the method, the rank, the error that `adapters
merge` prints (||D - s B A|| / ||D||), and for each run how many nats a token the cut adds: the loss
at this rank minus that of the same combination at the largest rank, which holds all of it.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tunesmith.adapters import combine_rules, combined
from tunesmith.adapters.combined import Fit
from tunesmith.core.progress import SILENT
from tunesmith.runs.result import open_for
from tunesmith.studies.merge import Named, named
from tunesmith.studies.tasks import Keeping, Task, read_task, runs_of

KINDS = ("ties", "linear", "dare", "magnitude")
RANKS = (576, 64, 32, 16, 8)  # the largest is the width of SmolLM2-135M: nothing is cut
ROWS = 30


def main() -> int:
    """Print a table of tabs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of two or more runs over one base")
    adapters = named(parser.parse_args().runs)
    runs = runs_of(adapters.folders)
    loaded = open_for(next(iter(runs.configs.values())), progress=SILENT)
    tasks = [
        read_task(name, config, loaded, limit=ROWS, progress=SILENT)
        for name, config in runs.configs.items()
    ]
    keeping = Keeping(loaded, [each for each in tasks if isinstance(each, Task)], adapters.folders)
    for kind in KINDS:
        whole: Mapping[str, float] | None = None
        for rank in RANKS:
            error, lost = _measured(adapters, keeping, kind, rank)
            whole = whole or lost
            added = "\t".join(f"{name} {lost[name] - whole[name]:+.3f}" for name in lost)
            sys.stdout.write(f"{kind}\t{rank}\t{error:.3f}\t{added}\n")
            sys.stdout.flush()
    return 0


def _measured(
    adapters: Named, keeping: Keeping, kind: str, rank: int
) -> tuple[float, Mapping[str, float]]:
    """The relative error of a combination at a rank, and the nats a token that each run loses."""
    with tempfile.TemporaryDirectory() as scratch:
        combination = adapters.blend.combination(combine_rules.made(kind, None))
        made = combined.save(Path(scratch, "made"), combination, Fit(rank=rank))
        return made.errors.overall, keeping.lost(made.folder)


if __name__ == "__main__":
    sys.exit(main())
