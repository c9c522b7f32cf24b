"""A run comes out the same, byte for byte; or what differs is named."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch
import yaml

import tunesmith as ts
from tests.runs.tiny import config
from tests.runs.trained import copy_of
from tunesmith.cli.main import main
from tunesmith.core.errors import ModelError, RunError
from tunesmith.core.progress import Progress
from tunesmith.runs import lock
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.reproduce import RepeatOrder, check_run, repeat_run
from tunesmith.runs.run import resume_run, train_run
from tunesmith.training.events import StepDone

SHORT = {"steps": 2, "rows_per_step": 20, "lr": 0.01}  # every row is in every step
METHODS = {
    "lora": {"kind": "lora", "rank": 2},
    "qlora": {"kind": "qlora", "rank": 2},
    "full": {"kind": "full"},
    "prompt": {"kind": "prompt", "tokens": 4},
    "p-tuning": {"kind": "p-tuning", "tokens": 4},
}


@pytest.fixture(autouse=True)
def own_cache(home):
    """Bases are found by what the cache remembers of them."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of two steps with its base and rows."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(folder / "home"))
        patch.setattr("tunesmith.runs.base_texts.TEXTS", 6)  # as in every test
        patch.setattr("tunesmith.runs.base_texts.LENGTHS", (16, 24))
        data = {"train": str(folder / "rows.jsonl"), "eval": 0}
        train_run(config(folder, data=data, train=SHORT, evaluate={}))
    return folder


@pytest.fixture
def run(made, tmp_path):
    return copy_of(made, tmp_path) / "run"


def bytes_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differences(path, order=None):
    found = check_run(path, order or RepeatOrder())
    return {each.what: (each.then, each.now) for each in found.differences}


def edited(run, change):
    """The run with another lock, as if it had been trained elsewhere."""
    file = RunFolder(run).lock
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def test_a_run_comes_out_the_same_and_stays_as_it_was(run, monkeypatch):
    before = bytes_of(run)
    monkeypatch.chdir(run)
    found = repeat_run(Path(), RepeatOrder())
    assert found.same is True
    assert found.differences == ()
    assert found.parted is None
    assert found.out == run.with_name("run-again")
    assert {each.name for each in found.files} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    for each in found.files:
        assert (run / "adapter" / each.name).read_bytes() == (
            found.out / "adapter" / each.name
        ).read_bytes()
    assert bytes_of(run) == before
    assert json.loads((found.out / "plan.json").read_text()) == json.loads(
        (run / "plan.json").read_text()
    )
    again = repeat_run(run, RepeatOrder())  # one more has another place
    assert again.out == run.with_name("run-again-2")


@pytest.mark.slow
def test_a_repeat_that_has_ended_is_only_compared(run, monkeypatch):
    out = run.with_name("other")
    repeat_run(run, RepeatOrder(out=out))
    before = bytes_of(out)
    assert repeat_run(run, RepeatOrder(out=out)).same
    assert bytes_of(out) == before
    shutil.copytree(run, run.with_name("strange"))
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["train"]["seed"] = 7
    (run.with_name("strange") / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(RunError, match="holds a run already"):
        repeat_run(run, RepeatOrder(out=run.with_name("strange")))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_runs_of_all_methods_come_out_the_same(method, tmp_path):
    train = {**SHORT, "steps": 6, "save_steps": 2}
    train_run(config(tmp_path, method=METHODS[method], train=train))
    found = repeat_run(tmp_path / "run", RepeatOrder())
    assert found.differences == ()
    assert found.same is True
    assert any(each.name.endswith(".safetensors") for each in found.files)
    assert found.verdicts is not None
    assert len(set(found.verdicts)) == 1


@pytest.mark.slow  # the command's own test has a shorter one
def test_one_byte_of_the_data_is_named_and_the_step_where_they_part(run):
    rows = run.parent / "rows.jsonl"
    rows.write_bytes(rows.read_bytes().replace(b"it is 77", b"it is 78", 1))
    assert list(differences(run)) == [str(rows)]
    found = repeat_run(run, RepeatOrder())
    assert found.same is False
    assert found.parted is not None
    assert found.parted.then != found.parted.now
    assert next(each for each in found.differences).what == str(rows)


def test_one_version_is_named_with_the_command_that_installs_the_other(run):
    edited(run, lambda values: values["packages"].update(numpy="1.0.0"))
    found = check_run(run, RepeatOrder())
    (numpy,) = found.differences
    assert (numpy.what, numpy.then, numpy.now) == ("numpy", "1.0.0", metadata.version("numpy"))
    assert found.install == "pip install numpy==1.0.0"
    assert found.same is None


def test_the_code_of_this_package_counts_as_a_version(run, monkeypatch):
    monkeypatch.setattr(lock, "source_sha256", lambda: "0" * 64)
    assert list(differences(run)) == ["Tunesmith's own code"]


def test_another_number_of_threads_is_named_and_otherwise_it_is_set_as_it_was(run, monkeypatch):
    before = torch.get_num_threads()
    try:
        assert differences(run, RepeatOrder(threads=before + 1)) == {
            "threads": (str(before), str(before + 1))
        }
        edited(run, lambda values: values.update(threads=before + 2))
        found = check_run(run, RepeatOrder())
        assert found.differences == ()
        assert any(f"threads are set to {before + 2}, as then" in each for each in found.notes)
    finally:
        torch.set_num_threads(before)


def test_the_processor_and_the_base_are_named(run, tmp_path):
    edited(run, lambda values: values["processor"].update(capability="AVX"))
    assert list(differences(run)) == ["processor's capability"]
    config_file = tmp_path / "base" / "config.json"
    values = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**values, "bos_token_id": 3}))
    assert list(differences(run)) == ["processor's capability", "base"]


def test_the_date_is_named_where_the_chat_template_writes_it(tmp_path, monkeypatch):
    made, cpu = config(tmp_path), {"device": torch.device("cpu"), "dtype": torch.float32}
    base = tmp_path / "base"
    assert "date" not in lock.lock_of(made, base, **cpu)
    template = base / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %b %Y') }}" + template.read_text())
    then = lock.lock_of(made, base, **cpu)
    monkeypatch.setattr(lock.time, "strftime", lambda _: "2030-01-02")
    (found,) = lock.differing(then, lock.lock_of(made, base, **cpu))
    assert (found.what, found.now) == ("date", "2030-01-02")
    data = made.data.model_copy(update={"template_options": {"date_string": "26 Jul 2024"}})
    assert "date" not in lock.lock_of(made.model_copy(update={"data": data}), base, **cpu)


def test_files_that_the_config_names_are_known_by_their_content(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text("{}")
    start = tmp_path / "start"
    start.mkdir()
    (start / "adapter_config.json").write_text("{}")
    checks = [{"kind": "json", "schema": str(schema)}]
    method = {"kind": "lora", "init": str(start)}
    made = config(tmp_path, method=method, evaluate={"checks": checks})
    before = lock.named_files(made)
    assert list(before) == [str(schema), str(start / "adapter_config.json")]
    schema.write_text('{"type": "object"}')
    (found,) = lock.differing({"files": before}, {"files": lock.named_files(made)})
    assert found.what == str(schema)


def test_rows_and_base_may_lie_elsewhere(run, tmp_path):
    rows, base = tmp_path / "rows.jsonl", tmp_path / "base"
    rows.rename(tmp_path / "moved.jsonl")
    with pytest.raises(Exception, match=r"rows\.jsonl"):
        check_run(run, RepeatOrder())
    moved = str(tmp_path / "moved.jsonl")
    base.rename(tmp_path / "renamed")
    with pytest.raises(ModelError, match="base of the run is not here"):
        check_run(run, RepeatOrder(data=moved))
    order = RepeatOrder(data=moved, model=str(tmp_path / "renamed"))
    assert differences(run, order) == {"the base's name": ("base", "renamed")}  # in its config
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "renamed").rename(tmp_path / "elsewhere" / "base")
    order = RepeatOrder(data=moved, model=str(tmp_path / "elsewhere" / "base"))
    assert differences(run, order) == {}


@pytest.mark.slow
def test_the_same_rows_and_base_elsewhere_give_the_same_bytes(run, tmp_path):
    (tmp_path / "rows.jsonl").rename(tmp_path / "moved.jsonl")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").rename(tmp_path / "elsewhere" / "base")
    base = str(tmp_path / "elsewhere" / "base")
    order = RepeatOrder(data=str(tmp_path / "moved.jsonl"), model=base)
    assert repeat_run(run, order).same


@pytest.mark.slow
def test_more_threads_are_named_whatever_comes_out(run):
    before = torch.get_num_threads()
    try:
        found = repeat_run(run, RepeatOrder(threads=before + 1))
        assert [each.what for each in found.differences] == ["threads"]
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_a_result_that_was_changed_since_is_named(run):
    file = run / "adapter" / "adapter_config.json"
    file.write_text(file.read_text() + "\n")
    found = repeat_run(run, RepeatOrder())
    assert found.same  # as it was written
    assert any("adapter_config.json was changed" in each for each in found.notes)


def test_a_run_of_an_earlier_version_is_compared_by_what_it_recorded(run):
    RunFolder(run).lock.unlink()
    found = check_run(run, RepeatOrder())
    assert found.differences == ()
    assert any("earlier version" in each for each in found.notes)
    environment = json.loads((run / "environment.json").read_text())
    environment["packages"]["torch"] = "1.0"
    (run / "environment.json").write_text(json.dumps(environment))
    assert list(differences(run)) == ["torch"]


def test_a_resumed_run_keeps_its_first_lock_and_what_was_different(run):
    folder = RunFolder(run)
    first = json.loads(folder.lock.read_text())
    other = {**first, "packages": {**first["packages"], "torch": "1.0"}}
    for _ in range(2):
        lock.write_lock(folder, other)
    kept = json.loads(folder.lock.read_text())
    assert kept.pop("resumed") == [[f"torch: {first['packages']['torch']} then, 1.0 now"]]
    assert kept == first
    lock.write_lock(folder, first)
    assert any("resumed where" in each for each in check_run(run, RepeatOrder()).notes)


def stopped_run(tmp_path):
    """A run that was stopped after two steps."""
    steps = []
    heard = Progress(
        lambda event: steps.append(event) if isinstance(event, StepDone) else None,
        cancelled=lambda: len(steps) >= 2,
    )
    assert train_run(config(tmp_path, evaluate={}), progress=heard).reason == "stopped"


def test_settings_that_a_run_was_planned_by_cannot_be_changed(tmp_path):
    stopped_run(tmp_path)
    file = tmp_path / "run" / "config.yaml"
    before = file.read_text()
    file.write_text(before.replace("steps: 8", "steps: 16").replace("lr: 0.01", "lr: 0.001"))
    changed = r"train\.steps: 8 then, 16 now; train\.lr: 0\.01"
    with pytest.raises(RunError, match=changed) as refused:
        resume_run(tmp_path / "run")
    assert "method.init" in refused.value.remedy
    file.write_text(before.replace("save_steps: 2", "save_steps: 3"))
    assert resume_run(tmp_path / "run").steps == 8


@pytest.mark.parametrize("place", ["rows.jsonl", "base/config.json"])
def test_a_run_over_other_rows_or_another_base_is_resumed_only_without_its_lock(tmp_path, place):
    stopped_run(tmp_path)
    folder, file = RunFolder(tmp_path / "run"), tmp_path / place
    before, file_before = folder.environment.read_bytes(), file.read_text()
    file.write_text(file_before + "\n")
    with pytest.raises(RunError, match="began with something else") as refused:
        resume_run(folder.path)
    assert refused.value.code == lock.CHANGED
    assert folder.environment.read_bytes() == before
    folder.lock.unlink()  # as its remedy says
    (text,) = (text for text in resume_run(folder.path).notices if "SHA-256" in text)
    assert json.loads(folder.lock.read_text())["resumed"] == [[text]]


def test_a_run_that_has_not_ended_and_one_without_any_record_are_refused(run):
    RunFolder(run).lock.unlink()
    RunFolder(run).environment.unlink()
    with pytest.raises(RunError, match=r"neither lock\.json nor environment.json"):
        check_run(run, RepeatOrder())
    RunFolder(run).summary.unlink()
    with pytest.raises(RunError, match="has not ended"):
        check_run(run, RepeatOrder())
    with pytest.raises(RunError, match="holds no run"):
        check_run(run.parent, RepeatOrder())


# Dependencies of the package that are not in a lock, and why they cannot change a tensor.
NOT_IN_A_LOCK = {
    "accelerate": "transformers asks for it where a folder is 4-bit; it only places layers",
    "huggingface-hub": "what it brings is known by its hash",
    "gguf": "reads a file into a base, which is known by its hash",
    "mpmath": "torch's sympy brings it",
    "pydantic": "the config is resolved in config.yaml",
    "typer": "reads the command line",
    "rich": "prints",
    "PyYAML": "the config is resolved in config.yaml",
    "filelock": "locks",
    "fsspec": "what it brings is known by its hash",
    "matplotlib": "draws",
}


def test_every_dependency_is_in_the_lock_or_has_a_reason_why_not():
    import tomllib

    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names = {line.split(">")[0].split("[")[0].strip() for line in project["dependencies"]}
    assert names == {*lock.PACKAGES} | NOT_IN_A_LOCK.keys()
    assert not {*lock.PACKAGES} & NOT_IN_A_LOCK.keys()


def command(capsys, *words):
    capsys.readouterr()
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command_ends_with_0_for_the_same_bytes_and_3_for_others(run, capsys):
    status, out, _ = command(capsys, "reproduce", run)
    assert status == 0
    assert f"{run} came out the same: every byte of its result." in out
    status, out, _ = command(capsys, "reproduce", run, "--check", "--json")
    assert (status, json.loads(out)["differences"], json.loads(out)["same"]) == (0, [], None)
    rows = run.parent / "rows.jsonl"
    rows.write_bytes(rows.read_bytes().replace(b"it is 77", b"it is 78", 1))
    status, out, _ = command(capsys, "reproduce", run, "--check")
    assert status == 3
    assert f"{run} may not come out the same here." in out
    status, out, err = command(capsys, "reproduce", run, "--language", "ko")
    assert status == 3
    assert "똑같이 재현되지 않았습니다" in out
    assert "1번째 스텝에서 갈라집니다" in out
    assert str(rows) in err
    status, _, err = command(capsys, "reproduce", run.parent)
    assert (status, "holds no run" in err) == (1, True)


@pytest.mark.slow
def test_from_python_it_says_the_same(run):
    found = ts.reproduce(run, progress=False)
    assert found.same
    assert found.status == 0
    assert found.out == run.with_name("run-again")
    assert "came out the same" in str(found)
