"""The estimate: an earlier run of the same work here is believed before a matrix product is."""

import json
import os

import pytest
import torch
import yaml
from transformers import LlamaConfig

from tunesmith.config import load_run_config
from tunesmith.estimate.duration import estimate

SHAPE = LlamaConfig(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=100,
)


def config(kind="lora", model="m"):
    return load_run_config(
        None,
        {"model": model, "data": {"train": "x"}, "method": kind, "train": {"retention": "none"}},
    )


@pytest.fixture
def runs(tmp_path):
    def made(name, rates, *, kind="lora", threads=None):
        folder = tmp_path / name
        folder.mkdir()
        values = {"model": "m", "method": {"kind": kind}, "train": {"retention": "none"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(values))
        here = {
            "cores": os.cpu_count(),
            "threads": threads or torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }
        (folder / "environment.json").write_text(json.dumps(here))
        lines = (json.dumps({"step": i, "tokens_per_second": r}) for i, r in enumerate(rates))
        (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
        return tmp_path

    return made


def told(folder, kind="lora", tokens=1000):
    ticks = iter(range(10_000))
    return estimate(
        config(kind),
        SHAPE,
        tokens=tokens,
        supervised=0.5,
        runs=folder,
        now=lambda: float(next(ticks)),
    )


def test_the_speed_of_an_earlier_run_is_taken(runs):
    folder = runs("a", [1, 100, 100, 90, 110, 100])
    assert told(folder).seconds == 10
    assert str(folder / "a") in told(folder).source


def test_the_range_is_of_the_steps_of_an_earlier_run(runs):
    folder = runs("a", [1, *[50] * 2, *[100] * 7, *[200] * 2])
    found = told(folder)
    assert (found.low, found.seconds, found.high) == (5, 10, 20)
    assert "11 steps of" in found.source


def test_the_range_is_from_a_machine_alone_to_one_as_busy_as_it_was(tmp_path):
    now, ticks = [0.0], iter(range(10_000))

    def clock():
        now[0] += 5 if next(ticks) % 8 == 1 else 1  # every fourth product takes five times as long
        return now[0]

    found = estimate(config(), SHAPE, tokens=1000, supervised=0.5, runs=tmp_path, now=clock)
    assert found.high / found.seconds == pytest.approx(0.47 / 0.43)
    assert found.seconds / found.low == pytest.approx(2 * 0.51 / 0.47)


@pytest.mark.parametrize(
    "other", [{"kind": "full"}, {"threads": 99}, {"rates": [1, 100]}, {"broken": True}]
)
def test_a_run_of_other_work_or_on_another_machine_is_not(other, runs):
    rates = other.pop("rates", [1, 100, 100, 100, 100, 100])
    broken = other.pop("broken", False)
    folder = runs("a", rates, **other)
    if broken:
        (folder / "a" / "environment.json").write_text("{")
    assert "matrix product" in told(folder).source


def test_without_one_the_time_grows_with_tokens_and_with_what_is_trained(tmp_path):
    small, large = told(tmp_path), told(tmp_path, tokens=3000)
    assert large.seconds == pytest.approx(3 * small.seconds)
    assert told(tmp_path, kind="full").seconds == pytest.approx(1.5 * small.seconds)
    assert small.to_json()["source"] == small.source
