"""Trackio: its database lies where TRACKIO_DIR says, else in the cache of the hub's libraries."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.runs.trackers import PROJECT, Started, add_files


@dataclass(slots=True)
class Trackio:
    """A run of it."""

    run: Any

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point for each value."""
        self.run.log(dict(values), step=step)

    def end(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path], /
    ) -> None:
        """Numbers and words as the last point, and an artifact with the files."""
        import trackio

        self.run.log({**values, **tags})
        artifact = trackio.Artifact(f"{self.run.name}-result", type="result")
        self.run.log_artifact(add_files(artifact, files))
        self.run.finish()


def start(run: Started) -> Trackio:
    """A run whose name has the folder's path in it, so that a resumed run adds to it."""
    import trackio

    number = hashlib.sha256(str(run.folder.resolve()).encode()).hexdigest()[:6]
    made = trackio.init(
        PROJECT,
        name=f"{run.name}-{number}",
        config=dict(run.config),
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return Trackio(made)
