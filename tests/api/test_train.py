"""`ts.train`: the same adapter whatever the rows come in, a result that shows itself, resuming."""

import json
import signal

import pytest
from safetensors.torch import load_file

import tunesmith as ts
from tests.cli.summaries import Summary
from tests.runs.tiny import UNMEASURED, base_folder, rows_file
from tunesmith.core.progress import Phase, status_of_cancel
from tunesmith.runs import run as runs
from tunesmith.training.events import Ended, StepDone

QUICK = {
    "train.rows_per_step": 3,
    "train.save_steps": 2,
    "evaluate": {**UNMEASURED, "timed_rows": 0, "max_new_tokens": 4},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def go(base, tmp_path, home):
    """Trains 4 steps over the tiny base, in a folder of that name."""

    def train(data, name, **keywords):
        settings = {**QUICK, **keywords.pop("settings", {})}
        if keywords.get("checks") == []:
            settings["evaluate"] = UNMEASURED
        given = {"model": base, "method": ts.LoRA(rank=2), "dtype": "float32", "lr": 0.01}
        given |= {"checks": ["exact"], "steps": 4, "eval": 0.25, "progress": False, **keywords}
        return ts.train(data, out=tmp_path / name, settings=settings, **given)

    return train


def test_the_same_rows_give_the_same_adapter_whatever_they_come_in(go, tmp_path):
    datasets = pytest.importorskip("datasets")
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    file = rows_file(tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    given = {
        "file": file,
        "files": [str(file)],
        "list": rows,
        "dataset": datasets.Dataset.from_list(rows),
        "pandas": pandas.DataFrame(rows),
        "polars": polars.DataFrame(rows),
    }
    adapters = {}
    for name, data in given.items():
        run = go(data, name, checks=[])
        adapters[name] = (run.adapter / "adapter_model.safetensors").read_bytes()
    assert len(set(adapters.values())) == 1


def test_a_run_knows_what_it_reached_and_shows_itself(go, tmp_path):
    events = []
    run = go(rows_file(tmp_path / "rows.jsonl"), "run", on_event=events.append)
    assert run.folder == tmp_path / "run"
    assert run.adapter == tmp_path / "run" / "adapter"
    assert [line["step"] for line in run.metrics] == [1, 2, 3, 4]
    assert run.evaluation["verdict"]["text"] == run.verdict
    assert run.report.is_file()
    assert f"run: {run.folder}" in str(run)
    page = run._repr_html_()
    assert page.startswith("<pre")
    assert run.verdict[:20] in page
    assert "<script" not in page
    document = run.to_json()
    assert document["steps"] == 4
    assert document["next"][0] == f"tunesmith chat {run.folder}"
    assert f"tunesmith evaluate {run.folder} --data NEW-ROWS.jsonl" in document["next"]
    assert any(isinstance(event, StepDone) for event in events)
    assert isinstance(events[-1], Phase | Ended) or events[-1].name == "notice"


def test_a_run_becomes_a_peft_model_with_its_adapters_weights(go, tmp_path):
    pytest.importorskip("peft")
    run = go(rows_file(tmp_path / "rows.jsonl"), "run", checks=[])
    model = run.to_peft()
    mine = load_file(run.adapter / "adapter_model.safetensors")
    theirs = {name.replace(".default", ""): t for name, t in model.named_parameters()}
    assert all(theirs[name].equal(tensor) for name, tensor in mine.items())


def test_ctrl_c_ends_a_run_in_good_order_and_it_resumes_to_the_same_bytes(go, tmp_path):
    file = rows_file(tmp_path / "rows.jsonl")
    whole = go(file, "whole", checks=[])

    def press(event):
        if isinstance(event, StepDone) and event.step == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ts.Cancelled, match="tunesmith train --resume") as cancelled:
        go(file, "cut", checks=[], on_event=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert isinstance(cancelled.value, KeyboardInterrupt)
    assert cancelled.value.run.summary.reason == "stopped"
    resumed = ts.train(resume=cancelled.value.run, progress=False)
    name = "adapter_model.safetensors"
    assert (resumed.adapter / name).read_bytes() == (whole.adapter / name).read_bytes()


@pytest.mark.parametrize(
    ("number", "phase"),
    [
        (signal.SIGINT, "loading"),
        (signal.SIGTERM, "reading the data"),
        (signal.SIGINT, "answering"),
        (signal.SIGTERM, "losses of"),
    ],
)
def test_a_signal_outside_of_a_step_ends_the_run_at_once_and_it_resumes(
    go, tmp_path, number, phase
):
    seen = []

    def press(event):
        if isinstance(event, Phase) and event.phase.startswith(phase):
            seen.append(event)
            signal.raise_signal(number)
            pytest.fail("the work went on")

    with pytest.raises(ts.Cancelled, match=r"tunesmith train --resume .*run") as cancelled:
        go(rows_file(tmp_path / "rows.jsonl"), "run", on_event=press)
    assert status_of_cancel() == 128 + number
    assert len(seen) == 1
    if phase in ("answering", "losses of"):
        assert cancelled.value.run.summary.reason == "stopped"
        assert cancelled.value.run.adapter is not None
    resumed = ts.train(resume=tmp_path / "run", progress=False)
    assert resumed.evaluation is not None
    assert resumed.report.is_file()


def test_settings_are_taken_in_every_form_and_mean_the_same(base, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(runs, "train_run", lambda config, **_: taken.append(config) or Summary())
    monkeypatch.setattr("tunesmith.runs.inputs.require_inputs", lambda *_, **__: None)
    mapping = {"model": str(base), "method": "prompt", "train": {"lr": 0.5}}
    (tmp_path / "c.yaml").write_text(json.dumps({**mapping, "data": {"train": "a.jsonl"}}))
    ts.train("a.jsonl", config=mapping, lr=0.1)
    ts.train("a.jsonl", model=base, method=ts.Prompt(), settings={"train.lr": 0.1})
    ts.train("a.jsonl", model=base, method={"kind": "prompt"}, settings={"train": {"lr": 0.1}})
    ts.train(config=tmp_path / "c.yaml", lr=0.1)
    ts.train(
        config=ts.RunConfig.model_validate(
            {**mapping, **{"method": {"kind": "prompt"}, "data": {"train": "a.jsonl"}}}
        ),
        lr=0.1,
    )
    assert len({config.model_dump_json() for config in taken}) == 1
    ts.train("a.jsonl", method=ts.QLoRA(rank=3), checks=ts.checks.Json(schema={"type": "object"}))
    assert (taken[-1].method.kind, taken[-1].method.rank) == ("qlora", 3)
    assert taken[-1].evaluate.checks[0].json_schema == {"type": "object"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: ts.LoRA(rank=0),
            "LoraSettings: `rank`: must be 1 or more",
        ),
        (lambda: ts.QLoRA(rang=8), "unknown key `rang`; did you mean `rank`?"),
        (lambda: ts.Prompt(init="text"), "init: text and init_text belong together"),
        (lambda: ts.checks.Regex(), "RegexSettings: `pattern`: is missing"),
    ],
)
def test_settings_that_cannot_be_are_refused_as_they_are_made(make, said):
    with pytest.raises(ts.ConfigError) as refused:
        make()
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("keywords", "error", "said"),
    [
        ({"lr": -1.0}, ts.ConfigError, "`train.lr`: must be above 0"),
        ({"settings": {"train.stepz": 1}}, ts.ConfigError, "did you mean `train.steps`"),
        ({"methd": "lora"}, ts.UsageError, "There is no keyword methd"),
        ({"rank": 8}, ts.UsageError, 'settings={"method.rank": ...}'),
        ({"steps": 1, "epochs": 2.0}, ts.ConfigError, "give one of epochs, steps and minutes"),
        ({"resume": "runs/x"}, ts.UsageError, "nothing else"),
        ({"tokenizer": object()}, ts.UsageError, "a named model has its own"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key(keywords, error, said):
    with pytest.raises(error, match=said):
        ts.train("a.jsonl", **keywords)


def test_a_run_is_opened_again_and_has_a_short_repr(go, tmp_path):
    run = go(rows_file(tmp_path / "rows.jsonl"), "again", checks=[])
    opened = ts.open_run(tmp_path / "again")
    assert (opened.adapter, opened.verdict, opened.metrics) == (
        run.adapter,
        run.verdict,
        run.metrics,
    )
    assert repr(opened) == f"<Run {tmp_path / 'again'}: {run.verdict}>"
    with pytest.raises(ts.RunError, match="holds no run"):
        ts.open_run(tmp_path / "gone")


def test_a_run_on_rows_in_memory_has_a_name_that_can_be_typed(base, tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in rows_file(tmp_path / "r.jsonl").read_text().splitlines()]
    run = ts.train(rows, model=base, method="lora", steps=1, eval=0, progress=False)
    assert run.folder.name == "rows-lora"


def test_what_cannot_be_is_refused_in_words(tmp_path):
    with pytest.raises(ts.ConfigError, match="takes its settings by name"):
        ts.checks.EndsWith("!")
    with pytest.raises(ts.UsageError, match="no export to 'onnx'") as error:
        ts.export(tmp_path, "onnx", tmp_path / "x")
    assert "gguf" in error.value.remedy
