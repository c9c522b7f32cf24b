"""The same data through several methods: each run is as it would be alone, and one table."""

import json
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.ranks import on_ranks
from tests.runs.tiny import config
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import RunError
from tunesmith.core.progress import Progress
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.history import read_run
from tunesmith.runs.inputs import COMPARISON
from tunesmith.runs.run import train_run
from tunesmith.studies.compare import TOGETHER, _groups, compare_runs, resume_comparison
from tunesmith.studies.compared import ComparedRun, ComparisonState
from tunesmith.studies.variants import Variant, load_variants
from tunesmith.training.events import Ended, Planned, StepDone

pytestmark = pytest.mark.usefixtures("home")
METHODS = ("lora", "prompt", "p-tuning", "qlora", "full")


def variants(folder, methods=METHODS, grid=(), **changes):
    made = config(folder, **changes).model_dump(mode="json", by_alias=True)
    made.pop("out")
    made.pop("method")
    return load_variants(None, made, methods=methods, grid=dict(grid))


def progress_of(emit, **options):
    return lambda name: Progress(partial(emit, name), **options)


def go(made, out, **options):
    events = []
    found = compare_runs(
        made, out, progress_of(lambda name, event: events.append((name, event))), **options
    )
    return found, events


@pytest.mark.rendered
def test_every_method_ends_with_a_row_and_a_run_of_its_own(tmp_path):
    found, events = go(variants(tmp_path), tmp_path / "all")
    document = found.to_json()
    assert [row["name"] for row in document["runs"]] == list(METHODS)
    scores = {row["name"]: row["score"] for row in document["runs"]}
    best = document["best"]
    assert best["score"] == scores[best["run"]] == max(scores.values())
    assert {*best["ahead"]} == {*METHODS} - {best["run"]}
    for name, ahead in best["ahead"].items():
        assert ahead["difference"] == pytest.approx(best["score"] - scores[name])
    for row in document["runs"]:
        assert row["error"] is None
        assert row["reason"] == "done"
        assert row["trainable_parameters"] > 0
        assert row["adapter_bytes"] > 0
        assert row["peak_bytes"] > 0
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 1
        assert row["verdict"] in ("yes", "no", "cannot-tell")
        record = read_run(tmp_path / "all" / row["name"])
        assert (record.state, record.config["method"]["kind"]) == ("done", row["method"])
    assert document["base"]["score"] is not None
    assert document["report"] == str(tmp_path / "all" / "report.html")
    assert {name for name, event in events if isinstance(event, Ended)} == set(METHODS)
    (together,) = [e for name, e in events if name == TOGETHER]
    parts = [e for name, e in events if isinstance(e, Planned) and name in METHODS[:3]]
    assert together.seconds == pytest.approx(sum(part.seconds for part in parts))
    assert together.tokens_per_step == sum(part.tokens_per_step for part in parts)
    kept = json.loads((tmp_path / "all" / COMPARISON).read_text())
    assert kept["runs"] == document["runs"]


def test_each_run_among_others_ends_as_the_run_alone(tmp_path):
    kinds = ("lora", "prompt", "p-tuning")
    go(variants(tmp_path, kinds), tmp_path / "all")
    for alone in variants(tmp_path, kinds):
        kind = alone.config.method.kind
        out = tmp_path / "alone" / kind
        train_run(alone.config.model_copy(update={"out": str(out)}))
        one, other = (
            load_file(folder / "adapter" / "adapter_model.safetensors")
            for folder in (out, tmp_path / "all" / kind)
        )
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(
                other[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_a_grid_is_a_run_for_each_value(tmp_path):
    made = variants(tmp_path, ("lora",), {"method.rank": [2, 5], "train.lr": [0.01, 0.1]})
    found, _ = go(made, tmp_path / "grid")
    sizes = [row.trainable_parameters for row in found.rows]
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]
    losses = {row.summary.train_loss for row in found.rows}
    assert len(losses) == 4


def test_one_that_cannot_run_keeps_its_row_and_the_others_go_on(tmp_path):
    made = variants(tmp_path, ("lora", "prompt"))
    wide = LoraSettings(rank=10_000)
    bad = Variant("wide", made[0].config.model_copy(update={"method": wide}))
    found, _ = go([bad, *made], tmp_path / "some")
    rows = {row["name"]: row for row in found.to_json()["runs"]}
    assert "Rank 10000 is larger" in rows["wide"]["error"]
    assert rows["lora"]["reason"] == rows["prompt"]["reason"] == "done"


def test_a_stopped_comparison_goes_on_to_the_unbroken_one(tmp_path):
    methods = ("lora", "p-tuning")
    go(variants(tmp_path, methods), tmp_path / "whole")
    steps = []

    def emit(name, event):
        steps.extend([name] * isinstance(event, StepDone))

    made = variants(tmp_path, methods)
    first = compare_runs(
        made, tmp_path / "parts", progress_of(emit, cancelled=lambda: len(steps) > 4)
    )
    assert {row.summary.reason for row in first.rows} == {"stopped"}
    second = resume_comparison(tmp_path / "parts")
    assert {row.summary.reason for row in second.rows} == {"done"}
    third = resume_comparison(tmp_path / "parts")
    assert third.to_json() == second.to_json()
    for kind in methods:
        one, other = (
            load_file(tmp_path / folder / kind / "adapter" / "adapter_model.safetensors")
            for folder in ("whole", "parts")
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_damaged_checkpoint_fails_its_run_and_no_other(tmp_path):
    steps = []

    def emit(_, event):
        steps.extend([event] * isinstance(event, StepDone))

    made = variants(tmp_path, ("lora", "prompt"))
    compare_runs(made, tmp_path / "all", progress_of(emit, cancelled=lambda: len(steps) > 4))
    tensors = max((tmp_path / "all/lora/checkpoints").glob("step-*/trained.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:50])
    lora, prompt = resume_comparison(tmp_path / "all").rows
    assert str(tensors.parent) in str(lora.error)
    assert (lora.summary, prompt.error, prompt.summary.reason) == (None, None, "done")


def test_a_folder_that_holds_a_comparison_is_refused(tmp_path):
    made = variants(tmp_path, ("lora",))
    go(made, tmp_path / "a")
    with pytest.raises(RunError, match="holds a comparison") as error:
        go(made, tmp_path / "a")
    assert f"--resume {tmp_path / 'a'}" in error.value.remedy
    with pytest.raises(RunError, match=r"holds no comparison: comparison.json is missing\."):
        resume_comparison(tmp_path / "b")


def test_a_folder_that_holds_a_run_is_refused_before_anything_is_written(tmp_path):
    made, files = variants(tmp_path, ("lora", "prompt")), lambda: set(tmp_path.rglob("*"))
    (tmp_path / "a" / "prompt").mkdir(parents=True)
    (tmp_path / "a" / "prompt" / "config.yaml").touch()
    before = files()
    for out, run in ((tmp_path / "a" / "prompt", "prompt"), (tmp_path / "a", "prompt")):
        with pytest.raises(RunError, match=f"{run} holds a run already"):
            go(made, out)
    assert files() == before


def test_runs_under_other_options_of_the_template_do_not_share_its_tokenizer(tmp_path):
    rows = [
        ComparedRun(str(number), config(tmp_path, data=data), RunFolder(tmp_path / str(number)))
        for number, data in enumerate(
            {"train": str(tmp_path / "rows.jsonl"), "template_options": {"thinking": on}}
            for on in (True, False, True)
        )
    ]
    assert [[row.name for row in group] for group in _groups(rows)] == [["0", "2"], ["1"]]


def test_a_comparison_with_a_run_that_was_not_begun_is_stopped_and_with_a_failed_one_not(tmp_path):
    row = ComparedRun("a", config(tmp_path), RunFolder(tmp_path / "a"))
    assert ComparisonState(tmp_path, [row]).is_stopped
    row.error = RunError("no room")
    assert not ComparisonState(tmp_path, [row]).is_stopped


def test_runs_over_one_base_load_it_once(tmp_path, monkeypatch):
    from tunesmith.studies import compare

    loaded = []
    real = compare.open_for_ranks
    monkeypatch.setattr(
        compare,
        "open_for_ranks",
        lambda config, **o: loaded.append(config.method.kind) or real(config, **o),
    )
    go(variants(tmp_path, ("lora", "qlora", "prompt", "full")), tmp_path / "all")
    assert loaded == ["lora", "qlora", "full"]


def test_a_base_that_cannot_be_used_fails_its_runs_and_no_other(tmp_path, monkeypatch):
    from tunesmith.core.errors import ModelError
    from tunesmith.studies import compare

    real = compare.open_for_ranks

    def open_for(made, **options):
        if made.method.kind == "qlora":
            raise ModelError("4 bit does not work here")
        return real(made, **options)

    monkeypatch.setattr(compare, "open_for_ranks", open_for)
    found, _ = go(variants(tmp_path, ("lora", "qlora", "full")), tmp_path / "all")
    errors = {row["name"]: row["error"] for row in found.to_json()["runs"]}
    assert errors == {"lora": None, "qlora": "4 bit does not work here", "full": None}


def test_a_base_is_gone_before_the_next_one_is_loaded(tmp_path, monkeypatch):
    from tunesmith.studies import compare

    loaded, left, load = [], [], compare.open_for_ranks

    def open_for(config, *, progress):
        left.append(sum(base() is not None for base in loaded))
        opened = load(config, progress=progress)
        loaded.append(weakref.ref(opened.engine.model))
        return opened

    monkeypatch.setattr(compare, "open_for_ranks", open_for)
    go(variants(tmp_path, ("lora", "qlora", "full")), tmp_path / "all")
    assert left == [0, 0, 0]


def test_the_peak_of_a_run_that_goes_on_is_that_of_all_its_processes(tmp_path):
    steps = []

    def emit(name, event):
        steps.extend([name] * isinstance(event, StepDone))

    made, out = variants(tmp_path, ("lora",)), tmp_path / "parts"
    compare_runs(made, out, progress_of(emit, cancelled=lambda: len(steps) > 1))
    metrics = out / "lora" / "metrics.jsonl"
    first, *others = map(json.loads, metrics.read_text().splitlines())
    first["peak_bytes"] = 10**15
    metrics.write_text("".join(json.dumps(line) + "\n" for line in (first, *others)))
    (row,) = resume_comparison(out).to_json()["runs"]
    assert row["peak_bytes"] == 10**15


@pytest.mark.slow
def test_a_comparison_on_two_ranks_ends_as_on_one(tmp_path, home):
    cuts = {"steps": 4, "rows_per_step": 6, "tokens_per_micro_batch": 40, "retention": "none"}

    def compared(out):
        found, _ = go(variants(tmp_path, methods=["lora", "prompt"], train=cuts), out)
        return [(row.name, row.summary.train_loss, row.summary.adapter) for row in found.rows]

    (alone,) = on_ranks(1, partial(compared, tmp_path / "one"))
    found = on_ranks(2, partial(compared, tmp_path / "two"))
    assert [[each[:2] for each in rows] for rows in found] == [[each[:2] for each in alone]] * 2
    for name, _, adapter in alone:
        other = tmp_path / "two" / name / Path(adapter).name
        for file in Path(adapter).glob("*.safetensors"):
            assert (other / file.name).read_bytes() == file.read_bytes(), name
    assert json.loads((tmp_path / "two" / COMPARISON).read_text())["names"] == ["lora", "prompt"]
