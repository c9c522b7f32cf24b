"""A run retains the base: texts that it writes once, or a user's, and never those of a probe."""

import json
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from tests.runs.tiny import UNMEASURED, config
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config import load_run_config
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.progress import UNSEEN, Progress
from tunesmith.runs import base_texts
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.retention import MAX_TOKENS
from tunesmith.runs.run import resume_run, train_run

TEXTS, LENGTHS = base_texts.TEXTS, base_texts.LENGTHS
TRAIN = {"steps": 6, "rows_per_step": 3, "save_steps": 2, "lr": 0.01}
NONE = {**TRAIN, "retention": "none"}
RETAINED = {**TRAIN, "retention": "default"}


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    monkeypatch.setattr(base_texts, "TEXTS", 12)


@pytest.fixture
def folder(tmp_path, home):
    return tmp_path


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def tensors(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_the_divergence_is_reported_and_the_result_differs(folder):
    train_run(config(folder, train=NONE))
    assert not any("divergence" in line for line in metrics(folder / "run"))
    train_run(config(folder, train=RETAINED, out=str(folder / "retained")))
    found = [line["divergence"] for line in metrics(folder / "retained")]
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert found[-1] > 0
    assert not same(tensors(folder / "run"), tensors(folder / "retained"))
    notices = (folder / "retained" / "events.jsonl").read_text()
    assert "25 % of its rows' tokens (12 texts" in notices


def test_it_is_on_unless_it_is_turned_off(folder):
    train_run(config(folder, train=TRAIN))
    train_run(config(folder, train=RETAINED, out=str(folder / "named")))
    assert same(tensors(folder / "run"), tensors(folder / "named"))


def test_texts_are_written_once_for_a_base(folder, monkeypatch):
    train_run(config(folder, train=RETAINED))
    monkeypatch.setattr("tunesmith.evaluation.answering.generate", lambda *_, **__: iter(()))
    train_run(config(folder, train=RETAINED, out=str(folder / "again")))
    assert same(tensors(folder / "run"), tensors(folder / "again"))


@pytest.mark.parametrize("kind", ["lora", "full", "p-tuning"])
def test_stopped_and_resumed_equals_unbroken(folder, kind):
    method = {"kind": kind, **({"rank": 2} if kind == "lora" else {})}
    train_run(config(folder, method=method, train=RETAINED))
    steps = []

    def count(event):
        if event.name == "stepdone":
            steps.append(event)

    half = config(folder, method=method, train=RETAINED, out=str(folder / "half"))
    progress = Progress(on_event=count, cancelled=lambda: len(steps) == 3)
    train_run(half, progress=progress)
    resume_run(folder / "half")
    parts = ("model/model.safetensors" if kind == "full" else "adapter/adapter_model.safetensors",)
    for part in parts:
        assert same(load_file(folder / "run" / part), load_file(folder / "half" / part))
    assert [line["divergence"] for line in metrics(folder / "half")] == [
        line["divergence"] for line in metrics(folder / "run")
    ]


def test_a_users_texts(folder):
    chats = folder / "chats.jsonl"
    rows = [{"prompt": f"what is {i}", "completion": "a b c"} for i in range(5)]
    chats.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = {**TRAIN, "retention": {"texts": str(chats), "share": 0.5}}
    train_run(config(folder, train=train))
    assert "50 % of its rows' tokens (5 texts" in (folder / "run" / "events.jsonl").read_text()


def test_the_beginnings_of_long_texts_and_chats_count(folder):
    texts, chats = folder / "texts.jsonl", folder / "chats.jsonl"
    texts.write_text(json.dumps({"text": "a b c " * 400}) + "\n")
    chats.write_text(json.dumps({"prompt": "what is " * 24, "completion": "a b c"}) + "\n")
    train = {**TRAIN, "retention": {"texts": [str(texts), str(chats)], "share": 0.5}}
    train_run(config(folder, train=train))
    events = (folder / "run" / "events.jsonl").read_text()
    assert f"rows' tokens (2 texts of {2 * MAX_TOKENS} tokens" in events


def test_a_text_of_a_probe_is_refused_with_its_place(folder):
    words = " ".join(f"word{i} and" for i in range(300))
    (folder / "probe.txt").write_text(words)
    texts = folder / "texts.jsonl"
    texts.write_text(json.dumps({"text": "nothing"}) + "\n" + json.dumps({"text": words}) + "\n")
    evaluate = {
        "checks": [{"kind": "exact"}],
        **UNMEASURED,
        "forgetting": {"probes": [str(folder / "probe.txt")]},
    }
    train = {**TRAIN, "retention": {"texts": str(texts)}}
    with pytest.raises(DataError, match=r"texts.jsonl:2: .* shares a passage with a probe"):
        train_run(config(folder, train=train, evaluate=evaluate))


def test_the_package_brings_what_the_default_base_writes():
    brought = json.loads(Path(base_texts.__file__).with_suffix(".json").read_text())
    (found,) = brought.values()
    assert found["model"] == load_run_config(None, {"data": {"train": "a.jsonl"}}).model
    assert len(found["texts"]) == TEXTS
    assert all(0 < len(ids) <= LENGTHS[-1] for ids in found["texts"].values())


@pytest.mark.slow
def test_the_default_base_need_not_write(monkeypatch, tmp_path):
    monkeypatch.setattr("tunesmith.evaluation.score_cache.cache_root", lambda: tmp_path)
    monkeypatch.setattr(base_texts, "TEXTS", TEXTS)
    monkeypatch.setattr(base_texts, "LENGTHS", LENGTHS)
    monkeypatch.setattr("tunesmith.evaluation.answering.generate", lambda *_, **__: iter(()))
    loaded = open_base("smollm2-135m-instruct")
    assert len(base_texts.written_by(loaded, ("en",), phase=UNSEEN)) == TEXTS


def test_settings():
    def retention(value):
        values = {"data": {"train": "rows.jsonl"}, "train": {"retention": value}}
        return load_run_config(None, values).train.retention

    assert retention("none") is None
    assert retention("default").share == 0.25
    assert retention({"kl_weight": 3}).kl_weight == 3
    with pytest.raises(ConfigError, match="share"):
        retention({"share": 0})


def test_a_run_of_a_version_without_it_is_resumed_without_it(folder):
    made = config(folder, train={**NONE, "steps": 4})
    train_run(made)
    path = folder / "run" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    assert "retention" in values["train"]
    del values["train"]["retention"]
    path.write_text(yaml.safe_dump(values))
    assert RunFolder(folder / "run").read_config().train.retention is None
    over = {"train": {"retention": "default"}}
    assert RunFolder(folder / "run").read_config(over).train.retention is not None
    assert load_run_config(path, {}).train.retention is not None  # a new run by the same file
