"""Weights & Biases: its files lie in the run's folder, and go to a server where one is logged in.

Without a key it stays offline and asks nobody; `wandb sync` sends the run later.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.runs.trackers import PROJECT, Started, add_files


@dataclass(slots=True)
class WeightsAndBiases:
    """A run of theirs."""

    run: Any

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point for each value, over the optimizer's steps."""
        self.run.log({**values, "step": step})

    def end(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path], /
    ) -> None:
        """The summary, and an artifact with the files."""
        import wandb

        self.run.summary.update({**values, **tags})
        artifact = wandb.Artifact(f"run-{self.run.id}", type="result")
        self.run.log_artifact(add_files(artifact, files))
        self.run.finish()


def start(run: Started) -> WeightsAndBiases:
    """A run whose id is of the folder's path, so that a resumed run adds to it."""
    import wandb

    has_key = bool(os.environ.get("WANDB_MODE")) or wandb.login(prompt=False)
    found = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.name,
        id=hashlib.sha256(str(run.folder.resolve()).encode()).hexdigest()[:12],
        resume="allow",
        config=dict(run.config),
        dir=str(run.folder),
        mode=None if has_key else "offline",
        reinit="create_new",
    )
    found.define_metric("step", hidden=True)
    found.define_metric("*", step_metric="step")
    return WeightsAndBiases(found)
