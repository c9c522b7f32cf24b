"""MLflow: where MLFLOW_TRACKING_URI says, else where MLflow itself would."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import files as own_files
from tunesmith.runs.trackers import PROJECT, Started

FILE = "mlflow.json"  # in the run's folder: which run of MLflow it is
LONGEST = 5000  # characters of a tag, which MLflow would refuse beyond 8,000


@dataclass(slots=True)
class MLflow:
    """A run of MLflow."""

    client: Any
    run: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point for each value."""
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=step)

    def end(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path], /
    ) -> None:
        """Metrics, tags and artifacts; the run is finished."""
        for name, value in values.items():
            self.client.log_metric(self.run, name, value)
        for name, text in tags.items():
            self.client.set_tag(self.run, name, text[:LONGEST])
        for path in files:
            if path.is_dir():
                self.client.log_artifacts(self.run, str(path), path.name)
            else:
                self.client.log_artifact(self.run, str(path))
        self.client.set_terminated(self.run)


def start(run: Started) -> MLflow:
    """A new run in the experiment `tunesmith`, or the one that a resumed run began."""
    from mlflow import MlflowClient

    client, file = MlflowClient(), run.folder / FILE
    if file.is_file():
        found = str(json.loads(file.read_text(encoding="utf-8"))["run"])
        client.update_run(found, status="RUNNING")
        return MLflow(client, found)
    experiment = client.get_experiment_by_name(PROJECT)
    number = experiment.experiment_id if experiment else client.create_experiment(PROJECT)
    made = client.create_run(number, run_name=run.name).info.run_id
    for key, value in run.config.items():
        client.log_param(made, key, str(value)[:LONGEST])
    own_files.write_json(file, {"run": made})
    return MLflow(client, made)
