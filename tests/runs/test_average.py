"""The average of the weights in whole runs: the result of ranks, and runs of earlier versions."""

import math
from dataclasses import replace

import pytest
import yaml
from safetensors.torch import load_file

from tests.ranks import all_of
from tests.runs.tiny import config
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.run import train_run
from tunesmith.training import held_out

TRAIN = {"steps": 30, "average_steps": 6, "patience": 1, "evaluate_steps": 4, "save_steps": 100}
TRAIN |= {"keep_checkpoints": 1, "rows_per_step": 3, "lr": 0.05, "retention": "none"}
TRAIN |= {"tokens_per_micro_batch": 64}


@pytest.mark.slow
def test_a_sharded_run_without_a_choice_ends_with_the_average_on_all_ranks(tmp_path, monkeypatch):
    """Of its held-out losses only the first is a number."""
    real = held_out.held_out_scores

    def trained(out, **more):
        calls = []

        def once(job, rows, **settings):
            calls.append(job)
            found = real(job, rows, **settings)
            return found if len(calls) == 1 else replace(found, loss=math.nan)

        monkeypatch.setattr(held_out, "held_out_scores", once)
        data = {"train": str(tmp_path / "rows.jsonl"), "eval": 0.3}
        train = {**TRAIN, **more}
        made = config(tmp_path, method={"kind": "full"}, out=str(out), data=data, train=train)
        assert train_run(made).reason == "early"
        return {
            n: t
            for path in (out / "model").glob("*.safetensors")
            for n, t in load_file(path).items()
        }

    config(tmp_path)  # writes base and rows
    (alone,) = all_of(1, lambda: trained(tmp_path / "one"))
    for found in all_of(2, lambda: trained(tmp_path / "two", shard=True)):
        for name, tensor in alone.items():
            assert found[name].float() == pytest.approx(tensor.float(), abs=1e-3), name


def test_a_run_of_a_version_without_it_stays_without_it(tmp_path):
    train_run(config(tmp_path, train={**TRAIN, "steps": 2}))
    path = tmp_path / "run" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    del values["train"]["average_steps"]
    values["train"] |= {"epochs": "auto", "steps": None}  # one that had not begun
    path.write_text(yaml.safe_dump(values))
    read = RunFolder(tmp_path / "run").read_config().train
    assert not read.may_average(has_held=True)
