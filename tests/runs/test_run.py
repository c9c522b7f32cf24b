"""A run from config to adapter on a tiny base: what it leaves, and what it refuses."""

import json
import re
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.runs.tiny import base_folder, config, rows_file
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.config import load_run_config
from tunesmith.conversation.chat import open_chat
from tunesmith.core.errors import ConfigError, DataError, ModelError, RunError, TunesmithError
from tunesmith.core.progress import Notice, Phase, Progress
from tunesmith.generation.sampling import Sampling
from tunesmith.models.hashes import hash_folder
from tunesmith.runs import neighbours
from tunesmith.runs.folder import alone, read_lines
from tunesmith.runs.history import read_run
from tunesmith.runs.inspect_data import inspect_data
from tunesmith.runs.locate import locate
from tunesmith.runs.run import resume_run, train_run
from tunesmith.training import checkpoint
from tunesmith.training.events import Ended, Planned
from tunesmith.training.length import PATIENCE


def go(config_, **options):
    events = []
    summary = train_run(config_, progress=Progress(events.append, **options))
    return summary, events


# Cancelled at once, a run with retention has not begun: it would be writing its texts.
PLAIN = {"steps": 8, "rows_per_step": 3, "save_steps": 2, "lr": 0.01, "retention": "none"}
METHODS = (
    {"kind": "lora", "rank": 2},
    {"kind": "lora", "rank": 2, "dora": True, "init": "pissa", "loraplus_lr_ratio": 4},
    {"kind": "qlora", "rank": 2, "init": "loftq", "dtype": "bfloat16"},
    {"kind": "qlora", "rank": 2, "freeze_a": True},
    {"kind": "full"},
    {"kind": "prompt", "init_text": "say it"},
    {"kind": "p-tuning", "tokens": 5},
    {"kind": "prefix", "tokens": 5, "projection": 8},
)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_every_file_and_does_not_touch_its_base(tmp_path, method):
    made = config(tmp_path, method=method)
    before = hash_folder(tmp_path / "base", fresh=True)
    summary, events = go(made)
    assert hash_folder(tmp_path / "base", fresh=True) == before
    run = tmp_path / "run"
    result = "model" if method["kind"] == "full" else "adapter"
    assert {p.name for p in run.iterdir()} == {
        ".lock",
        "answers.jsonl",
        "config.yaml",
        "environment.json",
        "lock.json",
        "plan.json",
        "metrics.jsonl",
        "events.jsonl",
        "checkpoints",
        "summary.json",
        "evaluation.json",
        result,
    }
    assert summary.adapter == str(run / result)
    assert json.loads((run / "summary.json").read_text()) == summary.to_json()
    found = load_run_config(run / "config.yaml", {})
    assert found.train.best_by == "token_accuracy"  # which `auto` is where answers are compared
    assert found.model_copy(update={"train": made.train}) == made
    assert found.train.model_copy(update={"best_by": "auto"}) == made.train
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, 9))
    assert metrics[0].keys() == {
        "step", "tokens", "loss", "lr", "grad_norm", "tokens_per_second", "peak_bytes", "seconds",
        "divergence",
    }  # fmt: skip
    assert [type(e) for e in events if isinstance(e, Planned | Ended)] == [Planned, Ended]
    assert list(summary.evaluation["arms"]) == ["base", "examples", "tuned"]
    if result == "model":
        open_base(str(run / "model"))
    else:
        attach_folder(open_base(str(tmp_path / "base")), run / "adapter")


def test_a_run_that_is_worked_on_is_refused_to_others_and_told_as_running(tmp_path):
    go(config(tmp_path, train=PLAIN), cancelled=lambda: True)
    with alone(tmp_path / "run"):
        with pytest.raises(RunError, match="another process is working on this run"):
            resume_run(tmp_path / "run")
        record = read_run(tmp_path / "run")
        assert (record.state, record.can_resume) == ("running", False)
    assert read_run(tmp_path / "run").state == "stopped"


def test_a_run_that_is_refused_before_its_first_step_leaves_nothing(tmp_path):
    for changes in ({"method": {"kind": "lora", "targets": ["wq"]}}, {"model": "no/such"}):
        with pytest.raises(TunesmithError):
            go(config(tmp_path, **changes))
        assert not (tmp_path / "run").exists()


def test_a_file_as_the_run_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        go(config(tmp_path))
    assert (tmp_path / "run").read_text() == "mine"


def test_a_stop_while_the_answers_are_made_keeps_the_adapter_and_can_be_gone_on_with(tmp_path):
    answering = []

    def emit(event):
        if isinstance(event, Phase) and "answering" in event.phase:
            answering.append(event)

    first = train_run(config(tmp_path), progress=Progress(emit, cancelled=lambda: bool(answering)))
    assert (first.reason, first.steps, first.evaluation) == ("stopped", 8, None)
    assert first.adapter is not None
    assert resume_run(tmp_path / "run", progress=Progress(emit)).evaluation is not None


def answered(events):
    return [e for e in events if isinstance(e, Phase) and "answering" in e.phase]


def resumed(folder):
    events = []
    return resume_run(folder, progress=Progress(events.append)), events


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("method", [{"kind": "lora", "rank": 2}, {"kind": "full"}])
def test_a_complete_run_is_told_again_and_nothing_is_done(tmp_path, method):
    first, _ = go(config(tmp_path, method=method))
    before = contents(tmp_path / "run")
    again, events = resumed(tmp_path / "run")
    assert again.to_json() == first.to_json()
    assert [e.code for e in events] == ["complete"]
    assert contents(tmp_path / "run") == before


def test_a_complete_run_without_questions_is_complete(tmp_path):
    go(config(tmp_path, data={"train": str(tmp_path / "rows.jsonl"), "eval": 0}))
    _, events = resumed(tmp_path / "run")
    assert [e.code for e in events] == ["complete"]


def test_a_complete_run_that_was_moved_is_told_where_it_lies_now(tmp_path):
    go(config(tmp_path))
    (tmp_path / "run").rename(tmp_path / "moved")
    summary, _ = resumed(tmp_path / "moved")
    assert (summary.run, summary.adapter) == (
        str(tmp_path / "moved"),
        str(tmp_path / "moved" / "adapter"),
    )


@pytest.mark.parametrize("lost", ["answers.jsonl", "summary.json", "adapter"])
def test_what_a_complete_run_lost_is_made_again(tmp_path, lost):
    first, _ = go(config(tmp_path))
    path = tmp_path / "run" / lost
    kept = path.read_bytes() if path.is_file() else (path / "adapter_config.json").read_bytes()
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    summary, events = resumed(tmp_path / "run")
    assert answered(events)
    assert summary.evaluation == first.evaluation
    if lost == "answers.jsonl":
        assert path.read_bytes() == kept
    if lost == "adapter":
        assert (path / "adapter_config.json").read_bytes() == kept


def test_what_a_kill_left_half_written_goes_when_the_run_goes_on(tmp_path):
    go(config(tmp_path, train=PLAIN), cancelled=lambda: True)
    run = tmp_path / "run"
    (run / ".tmp-metrics.jsonl-0123abcd").write_text("half")
    (run / ".tmp-old-adapter").mkdir()
    resumed(run)
    assert not list(run.glob(".tmp-*"))
    assert (run / "adapter" / "adapter_config.json").is_file()


def test_a_refused_resume_sweeps_nothing_of_the_living_process(tmp_path):
    go(config(tmp_path, train=PLAIN), cancelled=lambda: True)
    left = tmp_path / "run" / ".tmp-metrics.jsonl-0123abcd"
    left.write_text("half")
    with alone(tmp_path / "run"), pytest.raises(RunError):
        resumed(tmp_path / "run")
    assert left.exists()


def test_a_run_beside_another_says_so_and_keeps_the_note(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "usable_cores", lambda: 1)
    other = tmp_path / "other"
    other.mkdir()
    with alone(other), neighbours.announced(other, device="cpu", threads=1):
        summary, events = go(config(tmp_path))
    notices = [e.message for e in events if isinstance(e, Notice) and e.code == "neighbours"]
    (notice,) = [message for message in notices if str(other) in message]
    assert notice in summary.notices
    assert summary.reason == "done"


def test_virtual_tokens_that_fill_the_context_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="no room after 255 virtual tokens in the model's context of 256"
    ):
        go(config(tmp_path, method={"kind": "prompt", "tokens": 255}))


@pytest.mark.parametrize("kind", ["prompt", "p-tuning"])
@pytest.mark.parametrize(("window", "told"), [(16, True), (300, False)])
def test_layers_that_lose_a_prefix_are_told_where_a_row_is_that_long(tmp_path, kind, window, told):
    base = base_folder(tmp_path / "narrow", "mistral", sliding_window=window)
    _, events = go(config(tmp_path, model=str(base), method={"kind": kind, "tokens": 5}))
    said = [e.message for e in events if isinstance(e, Notice) and e.code == "window"]
    expected = "2 of 2 layers see only the last 16 tokens: in documents of more than 11 tokens"
    assert [text.startswith(expected) for text in said] == [True] * told
    assert all(text.endswith("; 24 of 24 rows are that long") for text in said)
    chat = open_chat(locate(str(tmp_path / "run"), ["base"]), sampling=Sampling(), seed=0)
    assert [note.startswith(f"run: {expected}") for note in chat.notes] == [True] * told


@pytest.mark.parametrize("method", [m for m in METHODS if m["kind"] != "full"])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, method):
    whole, _ = go(config(tmp_path, method=method))
    first = config(tmp_path, method=method, out=str(tmp_path / "other"))
    steps = tmp_path / "other" / "metrics.jsonl"
    stopped, _ = go(first, cancelled=lambda: len(list(read_lines(steps))) == 5)
    assert (stopped.reason, stopped.steps, stopped.adapter) == ("stopped", 5, None)
    (newest,) = (tmp_path / "other" / "checkpoints").glob("step-*5/state.json")
    earlier = json.loads(newest.read_text())["seconds"]
    events = []
    ended = resume_run(tmp_path / "other", progress=Progress(events.append))
    assert (ended.reason, ended.steps) == ("done", 8)
    assert ended.train_loss == whole.train_loss
    assert ended.seconds > stopped.seconds > earlier > 0  # with what the stop took
    assert any(isinstance(e, Notice) and e.code == "resumed" for e in events)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        one, other = (tmp_path / run / "adapter" / name for run in ("run", "other"))
        assert one.read_bytes() == other.read_bytes()
    lines = (tmp_path / "other" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gemma3_text"])
def test_a_whole_model_is_saved_as_it_was_trained(tmp_path, kind):
    base = base_folder(tmp_path / kind, kind)
    go(config(tmp_path, model=str(base), method={"kind": "full"}))
    trained = checkpoint.tensors_of(tmp_path / "run" / "checkpoints" / checkpoint.BEST)
    model = open_base(str(tmp_path / "run" / "model"), dtype="float32").base.model
    assert dict(model.named_parameters()).keys() == trained.keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, trained[name]), name


def test_training_goes_on_from_an_adapter(tmp_path):
    go(config(tmp_path))
    again = config(
        tmp_path,
        method={"kind": "lora", "rank": 2, "init": str(tmp_path / "run" / "adapter")},
        out=str(tmp_path / "more"),
    )
    summary, _ = go(again)
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    later = json.loads((tmp_path / "more" / "metrics.jsonl").read_text().splitlines()[0])
    assert later["loss"] < first["loss"]
    assert summary.adapter is not None


def test_a_folder_with_another_run_or_other_files_is_refused_and_left(tmp_path):
    made = config(tmp_path)
    go(made)
    before = (tmp_path / "run" / "summary.json").read_bytes()
    with pytest.raises(RunError, match="holds a run already") as error:
        go(made)
    assert f"--resume {tmp_path / 'run'}" in error.value.remedy
    assert (tmp_path / "run" / "summary.json").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match="is not empty"):
        go(config(tmp_path, out=str(tmp_path / "mine")))


def refusals(tmp_path):
    data = str(tmp_path / "rows.jsonl")
    bad = tmp_path / "bad.jsonl"
    return {
        "no data file": (DataError, "nowhere.jsonl", {"data": {"train": "nowhere.jsonl"}}, None),
        "empty file": (DataError, "bad.jsonl", {"data": {"train": str(bad)}}, ""),
        "broken line": (DataError, r"bad.jsonl:1", {"data": {"train": str(bad)}}, '{"prompt": '),
        "wrong roles": (
            DataError,
            r"bad.jsonl:1",
            {"data": {"train": str(bad), "eval": 0}},
            '{"messages": [{"role": "boss", "content": "x"}]}',
        ),
        "too long": (
            DataError,
            "longer than 9 tokens",
            {"data": {"train": data, "eval": 0, "max_tokens": 9}},
            None,
        ),
        "no such target": (
            ConfigError,
            r"\['wq'\] name no linear layer",
            {"method": {"kind": "lora", "targets": ["wq"]}},
            None,
        ),
        "no such model": (ModelError, "nowhere", {"model": str(tmp_path / "nowhere")}, None),
        "bad schema": (
            ConfigError,
            "schema",
            {"evaluate": {"checks": [{"kind": "json", "schema": "nowhere.json"}]}},
            None,
        ),
    }


@pytest.mark.parametrize("case", refusals(__import__("pathlib").Path()))
def test_bad_input_is_refused_by_what_is_wrong_with_it(tmp_path, case):
    kind, message, changes, text = refusals(tmp_path)[case]
    config(tmp_path)
    if text is not None:
        (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(kind) as error:
        go(config(tmp_path, **changes))
    assert re.search(message, str(error.value))
    assert not (tmp_path / "run" / "adapter").exists()


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path):
    made = config(tmp_path)
    for path in (tmp_path / "base").glob("chat_template*"):
        path.unlink()
    settings = tmp_path / "base" / "tokenizer_config.json"
    values = json.loads(settings.read_text())
    values.pop("chat_template", None)
    settings.write_text(json.dumps(values))
    with pytest.raises(TunesmithError, match="chat template"):
        go(made)


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        resume_run(tmp_path)


def test_weighted_files_are_read_together(tmp_path):
    config(tmp_path)
    rows_file(tmp_path / "more.jsonl", 6)
    sources = [str(tmp_path / "rows.jsonl"), {"path": str(tmp_path / "more.jsonl"), "weight": 2}]
    summary, events = go(config(tmp_path, data={"train": sources, "eval": 0}))
    assert summary.eval_loss is None
    assert summary.evaluation is None
    notice = next(e for e in events if isinstance(e, Notice) and e.code == "data")
    assert notice.message.startswith("30 rows")


def test_the_optimizer_that_the_config_names_trains(tmp_path):
    steps = {"steps": 2, "rows_per_step": 3, "lr": 0.01}
    go(config(tmp_path, method={"kind": "full"}, train={**steps, "optimizer": "adamw8bit"}))
    newest = checkpoint.newest(tmp_path / "run" / "checkpoints")
    formats = {tensor.dtype for tensor in load_file(newest / "exp_avg.safetensors").values()}
    assert formats == {torch.uint8, torch.float32}


def test_the_config_beside_a_run_is_complete(tmp_path):
    go(config(tmp_path))
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["train"]["max_grad_norm"] == 1.0
    assert written["method"]["alpha"] == 32.0


def test_a_base_of_an_unsupported_family_is_refused_by_name(tmp_path):
    base_folder(tmp_path / "gpt", "gpt_neox")
    with pytest.raises(ModelError, match="gpt_neox"):
        go(config(tmp_path, model=str(tmp_path / "gpt")))


def test_the_run_says_of_its_rows_what_check_says(tmp_path):
    made = config(tmp_path)
    data = tmp_path / "rows.jsonl"
    lines = data.read_text().splitlines(keepends=True)
    mail = json.dumps({"prompt": "who", "completion": "ann@naver.com"}) + "\n"
    data.write_text("".join([*lines, lines[0], lines[1], mail]))
    made = made.model_copy(update={"data": made.data.model_copy(update={"drop": ("duplicates",)})})
    checked = inspect_data(made)[0].warnings
    assert {"dropped", "personal_data", "few_rows"} <= {note.code for note in checked}
    summary, events = go(made)
    for note in checked:
        rows = "row" if note.count == 1 else "rows"
        assert f"{note.message} ({note.count:,} {rows})" in summary.notices, note
    assert {e.code for e in events if isinstance(e, Notice)} >= {note.code for note in checked}


def test_what_was_auto_is_chosen_recorded_and_kept_by_a_resumed_run(tmp_path):
    made = config(tmp_path, train={"lr": 0.01})
    summary, events = go(made)
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]
    (planned,) = (event for event in events if isinstance(event, Planned))
    most = made.method.max_epochs
    assert kept["epochs"] == most
    assert kept["tokens_per_step"] >= planned.tokens_per_step > 0
    assert kept["patience"] == PATIENCE
    assert abs(planned.steps - most * kept["evaluate_steps"]) < most  # passes differ
    (told,) = (e.message for e in events if isinstance(e, Notice) and e.code == "length")
    assert told in summary.notices
    other = tmp_path / "other"
    steps = iter(range(100))
    stop = lambda: next(steps) == 4  # noqa: E731
    assert go(made.model_copy(update={"out": str(other)}), cancelled=stop)[0].reason == "stopped"
    resume_run(other)
    one, two = (run / "adapter" / "adapter_model.safetensors" for run in (tmp_path / "run", other))
    assert one.read_bytes() == two.read_bytes()
