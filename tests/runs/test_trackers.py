"""Trackers: each program reads back, by its own library, what the run's folder has."""

import json
import struct
import sys
import time
from types import ModuleType

import pytest

from tests.runs.tiny import UNMEASURED, config
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Notice, Progress
from tunesmith.runs.run import resume_run, train_run
from tunesmith.runs.summary import end_trackers
from tunesmith.runs.trackers import TRACKERS

TRAIN = {"steps": 4, "rows_per_step": 3, "save_steps": 2, "lr": 0.01, "retention": "none"}
CURVES = {"loss/train": "loss", "lr": "lr", "grad_norm": "grad_norm"}


class Recorder:
    """A tracker that keeps what it gets, and fails where it is asked to."""

    def __init__(self, fails=""):
        self.points, self.result, self.fails = [], None, fails

    def log(self, values, step):
        if self.fails == "log" and step == 2:
            raise OSError("the network is gone")
        self.points.append((step, dict(values)))
        sys.stdout.write("a line on standard output")

    def end(self, values, tags, files):
        if self.fails == "end":
            raise ValueError("no room")
        self.result = values, tags, [path.name for path in files]


@pytest.fixture
def recorder(monkeypatch):
    """In the place of mlflow."""

    def place(fails=""):
        made = Recorder(fails)
        module = ModuleType("tunesmith.runs.trackers.mlflow")

        def start(run):
            if fails == "start":
                raise RuntimeError("no server")
            made.run = run
            return made

        module.start = start
        monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return made

    return place


def trained(folder, names=("mlflow",), **changes):
    """A run whose result went to its trackers, and what was noticed."""
    evaluate = {"checks": [{"kind": "exact"}], "max_new_tokens": 4, "timed_rows": 0, **UNMEASURED}
    made = config(folder, train={**TRAIN, "trackers": list(names)}, evaluate=evaluate, **changes)
    events = []
    summary = train_run(made, progress=Progress(events.append))
    end_trackers(summary)
    return summary, [event.message for event in events if isinstance(event, Notice)]


def metrics(folder):
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_curves_verdict_and_files_are_those_of_the_folder(recorder, tmp_path, capsys):
    made = recorder()
    summary, _ = trained(tmp_path)
    assert capsys.readouterr().out == ""
    steps = [(step, values) for step, values in made.points if "loss/train" in values]
    assert [step for step, _ in steps] == [1, 2, 3, 4]
    for (_, values), line in zip(steps, metrics(tmp_path), strict=True):
        assert {name: values[name] for name in CURVES} == {n: line[k] for n, k in CURVES.items()}
    values, tags, files = made.result
    tuned = summary.evaluation["arms"]["tuned"]["checks"]["exact"]["score"]
    assert values["score/exact/tuned"] == tuned
    assert tags["verdict"] == summary.evaluation["verdict"]["answer"]
    assert {"evaluation.json", "answers.jsonl", "adapter", "config.yaml"} <= set(files)
    assert made.run.config["train.lr"] == 0.01


@pytest.mark.parametrize("fails", ["start", "log", "end"])
def test_a_tracker_that_fails_never_ends_a_run(recorder, tmp_path, fails):
    made = recorder(fails)
    summary, notices = trained(tmp_path)
    assert summary.reason == "done"
    (notice,) = [text for text in notices if text.startswith("mlflow could not")]
    assert {"start": "no server", "log": "the network is gone", "end": "no room"}[fails] in notice
    assert len(made.points) == {"start": 0, "log": 1}.get(fails, len(made.points))


def test_one_that_is_not_installed_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ConfigError, match="needs the package trackio") as refused:
        trained(tmp_path, ["trackio"])
    assert "tunesmith[trackio]" in refused.value.remedy


def test_an_unknown_one_is_refused_by_the_config(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.trackers"):
        trained(tmp_path, ["comet"])


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "run" / "tensorboard"))
    found.Reload()
    curve = [(each.step, each.value) for each in found.Scalars("loss/train")]
    (text,) = found.Tensors("verdict/text_summary")
    return curve, text.tensor_proto.string_val[0].decode(), {"evaluation.json"}


def read_mlflow(_):
    from mlflow import MlflowClient

    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("tunesmith").experiment_id])
    points = client.get_metric_history(run.info.run_id, "loss/train")
    curve = [(point.step, point.value) for point in points]
    files = {each.path for each in client.list_artifacts(run.info.run_id)}
    return curve, run.data.tags["verdict"], files


def wandb_records(path):
    """The records of a `.wandb` file, a LevelDB log in blocks of 32 KiB after 7 bytes of header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts.append(data[place + 7 : place + 7 + size])
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(b"".join(parts))
            parts = []


def values_of(items):
    return {"/".join(item.nested_key) or item.key: item.value_json for item in items}


def read_wandb(folder):
    (file,) = (folder / "run" / "wandb").glob("offline-run-*/*.wandb")
    curve, summary, files = [], {}, set()
    until = time.monotonic() + 30  # a process of wandb's own writes the end
    while not any(record.HasField("exit") for record in wandb_records(file)):
        assert time.monotonic() < until
        time.sleep(0.1)
    for record in wandb_records(file):
        items, changes = map(values_of, (record.history.item, record.summary.update))
        if "loss/train" in items:
            curve.append((json.loads(items["step"]), json.loads(items["loss/train"])))
        summary |= changes
        files |= {entry.path for entry in record.artifact.manifest.contents}
    return curve, json.loads(summary["verdict"]), files


def read_trackio(folder):
    import trackio

    (run,) = trackio.Api().runs("tunesmith")
    history = trackio.SQLiteStorage.get_logs("tunesmith", run.name)
    curve = [(each["step"], each["loss/train"]) for each in history if "loss/train" in each]
    (verdict,) = [each["verdict"] for each in history if "verdict" in each]
    kept = {path.read_bytes() for path in (folder / "trackio").rglob("blobs/sha256/*/*")}
    assert (folder / "run" / "answers.jsonl").read_bytes() in kept
    return curve, verdict, {"evaluation.json"}


READ = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
    "trackio": read_trackio,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACKERS)
def test_each_program_reads_back_the_same_by_its_own_library(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.chdir(tmp_path)
    pytest.importorskip(name)  # some read the environment when they are imported
    summary, notices = trained(tmp_path, [name])
    assert not [text for text in notices if text.startswith(name)]
    curve, verdict, files = READ[name](tmp_path)
    wanted = [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in metrics(tmp_path)]
    assert curve == wanted
    assert verdict == summary.evaluation["verdict"]["answer"]
    assert any(path.endswith("evaluation.json") for path in files)


def test_a_resumed_run_goes_to_its_trackers_too(recorder, tmp_path):
    made = recorder()
    stopping = Progress(cancelled=lambda: len(made.points) >= 2)
    made_config = config(tmp_path, train={**TRAIN, "trackers": ["mlflow"]})
    assert train_run(made_config, progress=stopping).reason == "stopped"
    end_trackers(resume_run(tmp_path / "run"))
    assert made.points[-1][0] == 4
    assert made.result is not None
