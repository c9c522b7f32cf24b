"""An adapter goes to a folder, to storage and to the hub, and comes back as it was."""

import json
import shutil

import fsspec
import huggingface_hub
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

import tunesmith as ts
from tests.exports.hub_stand_in import TOKEN, HubStandIn
from tests.runs.tiny import config
from tests.runs.trained import copy_of
from tunesmith.adapters.folder import FILE, recorded_files
from tunesmith.cli.main import main
from tunesmith.core.errors import AdapterError, StorageError, UsageError
from tunesmith.core.remote import is_remote
from tunesmith.exports.places import place_named
from tunesmith.runs.run import train_run

KEY = "sk-" + "a1B2" * 8
NAMES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "report.html", FILE}


@pytest.fixture(autouse=True)
def own_cache(home):
    """Bases and what was pulled are found in the test's own cache."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was evaluated, its page, base and rows."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(folder / "home"))
        patch.setattr("tunesmith.runs.base_texts.TEXTS", 6)  # as in every test
        patch.setattr("tunesmith.runs.base_texts.LENGTHS", (16, 24))
        train_run(config(folder, goal="Say numbers", train={"steps": 1, "rows_per_step": 3}))
    page = f"<!doctype html><pre>model: {folder}/base\ntrain: {folder}/rows.jsonl</pre>"
    (folder / "run" / "report.html").write_text(page)
    return folder


@pytest.fixture
def run(made, tmp_path):
    return copy_of(made, tmp_path) / "run"


def noticed(run, message):
    """The run as if the check of its rows had found this."""
    line = {"event": "notice", "code": "personal_data", "message": message}
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def push(run, repo, **asked):
    return ts.push_adapter(run, str(repo), progress=False, **asked)


def test_a_dry_run_shows_files_bytes_card_and_findings_and_pushes_nothing(run, tmp_path):
    shown = push(run, tmp_path / "out", dry_run=True)
    assert shown.url is None
    document = shown.to_json()
    assert {each["name"] for each in document["files"]} == NAMES
    sizes = {each["name"]: each["bytes"] for each in document["files"]}
    weights = run / "adapter" / "adapter_model.safetensors"
    assert sizes["adapter_model.safetensors"] == weights.stat().st_size
    assert {each["code"] for each in document["findings"]} >= {"licence", "rows", "base"}
    assert "# Say numbers" in str(shown)
    assert not (tmp_path / "out").exists()


def test_what_was_pushed_comes_back_verified_and_gives_the_same_answers(run, tmp_path):
    pushed = push(run, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == NAMES
    found = ts.pull_adapter(str(tmp_path / "out"), progress=False)
    assert found.found.verified == len(NAMES) - 1
    assert found.folder.is_relative_to(tmp_path / "home")
    assert pushed.url == str(tmp_path / "out")
    assert ts.verify(found.folder, model=str(tmp_path / "base"), progress=False).is_good
    prompts = ["say 3", "say 8"]
    models = [
        ts.load(str(tmp_path / "base"), adapters={"a": place}) for place in (run, found.folder)
    ]
    first, second = (each.generate(prompts, adapter="a", max_new_tokens=6) for each in models)
    assert [str(each) for each in first] == [str(each) for each in second]


def test_nothing_of_this_machine_goes(run, tmp_path):
    push(run, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    assert "model: base\ntrain: rows.jsonl" in (tmp_path / "out" / "report.html").read_text()


def test_the_cards_head_is_what_the_hubs_own_classes_read(run, tmp_path):
    card = ModelCard(push(run, tmp_path / "out", dry_run=True).card)
    (result,) = card.data.eval_results
    assert (result.task_type, result.metric_type) == ("text-generation", "exact")
    assert 0 <= result.metric_value <= 1
    assert {"low", "high", "rows"} <= result.metric_args.keys()
    assert result.dataset_name == "rows.jsonl, held out"
    rebuilt = ModelCardData(**card.data.to_dict())
    assert rebuilt.to_dict() == card.data.to_dict()
    for section in ("What it must not be used for", "Result", "What it forgot", "Data", "Report"):
        assert f"## {section}" in card.text


def test_a_damaged_head_is_refused(run, tmp_path):
    card = run / "adapter" / "README.md"
    card.write_text("---\nmodel-index: [}\n---\n" + card.read_text())
    with pytest.raises(AdapterError, match="its head is not valid"):
        push(run, tmp_path / "out", dry_run=True)


def test_files_that_were_changed_are_not_pushed(run, tmp_path):
    file = run / "adapter" / "adapter_config.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(AdapterError, match=r"adapter_config\.json was changed"):
        push(run, tmp_path / "out")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("e-mail addresses in the text, such as jo… (16 characters) (3 rows)", "personal_data"),
        ("keys or tokens in the text, such as sk… (35 characters) (1 row)", "secrets"),
    ],
)
def test_what_the_data_check_found_stops_it_until_it_is_allowed(run, tmp_path, message, code):
    noticed(run, message)
    shown = push(run, tmp_path / "out", dry_run=True)
    assert not shown.is_good
    with pytest.raises(AdapterError, match=f"Nothing was pushed.*--allow {code}"):
        push(run, tmp_path / "out")
    other = {"personal_data": "secrets", "secrets": "personal_data"}[code]
    with pytest.raises(AdapterError, match="Nothing was pushed"):
        push(run, tmp_path / "out", allow=[other])
    assert not (tmp_path / "out").exists()
    assert push(run, tmp_path / "out", allow=[code]).url
    with pytest.raises(UsageError, match="is called all"):
        push(run, tmp_path / "out", allow=["all"])


def test_keys_in_what_goes_are_found_and_never_shown(run, tmp_path):
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["goal"] = f"Answer with {KEY}"
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    card = run / "adapter" / "README.md"
    card.write_text(card.read_text().replace("# Say numbers", f"# {KEY}"))
    with pytest.raises(AdapterError, match=r"README.md: keys or tokens, such as sk… \(") as error:
        push(run, tmp_path / "out")
    assert KEY not in str(error.value)
    assert "report.html: keys or tokens" in str(error.value)


def test_a_folder_with_something_else_is_never_replaced(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(AdapterError, match="exists already"):
        push(run, out)
    with pytest.raises(StorageError, match=r"no push put there: mine\.txt"):
        push(run, out, replace=True)
    (out / "mine.txt").rename(out / "config.json")  # of a model of its own
    with pytest.raises(StorageError, match=r"no push put there: config\.json"):
        push(run, out, replace=True)
    (out / "config.json").unlink()
    push(run, out)
    (out / ".git").mkdir()
    (out / "adapter_config.json.bak").write_text("mine")
    with pytest.raises(StorageError, match=r": \.git, adapter_config\.json\.bak\."):
        push(run, out, replace=True)
    assert (out / "report.html").is_file()
    (out / ".git").rmdir()
    (out / "adapter_config.json.bak").unlink()
    with pytest.raises(AdapterError, match="--replace"):
        push(run, out)
    push(run, out, replace=True, report=False)
    assert {path.name for path in out.iterdir()} == NAMES - {"report.html"}


def test_a_file_that_is_not_as_it_was_pushed_is_named_and_nothing_stays(run, tmp_path):
    out, into = tmp_path / "out", tmp_path / "into"
    push(run, out)
    weights = out / "adapter_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(AdapterError, match=r"adapter_model.safetensors \(SHA-256 .*, not"):
        ts.pull_adapter(str(out), out=into, progress=False)
    assert not into.exists()
    weights.unlink()
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors missing, which"):
        ts.pull_adapter(str(out), out=into, progress=False)


def test_a_record_that_leads_out_of_the_folder_is_refused(run, tmp_path):
    out = tmp_path / "out"
    push(run, out)
    own = json.loads((out / FILE).read_text())
    own["files"]["../stolen"] = "0" * 64
    (out / FILE).write_text(json.dumps(own))
    with pytest.raises(AdapterError, match="is no file of an adapter"):
        ts.pull_adapter(str(out), out=tmp_path / "into", progress=False)


def test_an_adapter_from_elsewhere_is_pulled_without_what_could_run(run, tmp_path):
    out = shutil.copytree(run / "adapter", tmp_path / "theirs")
    (out / FILE).unlink()
    (out / "evil.py").write_text("raise SystemExit")
    (out / "adapter_model.bin").write_bytes(b"pickle")
    found = ts.pull_adapter(str(out), out=tmp_path / "into", progress=False)
    assert found.found.verified == 0
    assert "could not be verified" in str(found)
    assert {path.name for path in (tmp_path / "into").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    with pytest.raises(StorageError, match="nothing there"):
        ts.pull_adapter(str(tmp_path / "none"), progress=False)


def test_storage_has_it_complete_or_not_at_all(run, tmp_path, monkeypatch):
    system = fsspec.filesystem("memory")
    system.store.clear()
    url = "memory://bucket/adapters/one"
    system.pipe("/bucket/adapters/one/other.txt", b"mine")
    with pytest.raises(StorageError, match="files are there already"):
        push(run, url)
    with pytest.raises(StorageError, match=r"no push put there: other\.txt"):
        push(run, url, replace=True)
    system.rm("/bucket/adapters/one/other.txt")
    real, left = type(system).put_file, [1]

    def cut(self, *words, **more):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(self, *words, **more)

    monkeypatch.setattr(type(system), "put_file", cut)
    with pytest.raises(KeyboardInterrupt):
        push(run, url)
    assert not system.exists(f"/bucket/adapters/one/{FILE}")
    with pytest.raises(AdapterError, match=r"there is no \*\.safetensors in it"):
        ts.pull_adapter(url, out=tmp_path / "into", progress=False)
    monkeypatch.setattr(type(system), "put_file", real)
    push(run, url, replace=True)
    found = ts.pull_adapter(url, out=tmp_path / "into", progress=False)
    assert found.found.verified == len(NAMES) - 1
    assert recorded_files(tmp_path / "into")
    push(run, url, replace=True, report=False)
    assert set(system.ls("/bucket/adapters/one", detail=False)) == {
        f"/bucket/adapters/one/{name}" for name in NAMES - {"report.html"}
    }


def test_names_are_of_the_hub_of_storage_or_of_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    kinds = {
        "acme/one": "hub",
        "hf:acme/one": "hub",
        "./acme/one": "folder",
        "/srv/one": "folder",
        "one": "folder",
        "here/one": "folder",
        "s3://bucket/one": "storage",
    }
    assert {name: place_named(name).kind for name in kinds} == kinds
    assert is_remote("s3://bucket/one")
    assert place_named("hf:acme/one").name == "acme/one"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, found as the hub is, and whoever is logged in by HF_TOKEN."""
    stand_in = HubStandIn()
    template = stand_in.address + "/{repo_id}/resolve/{revision}/{filename}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", METADATA)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield stand_in
    stand_in.close()


METADATA = huggingface_hub.get_hf_file_metadata  # which every test refuses, as it asks no hub


def test_the_hub_gets_one_private_commit_and_gives_it_back(run, tmp_path, hub, capsys):
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["adapters", "push", str(run), "--repo", "acme/one", "--yes"]) == 0
    printed = capsys.readouterr()
    repository = hub.repositories["acme/one"]
    assert repository.private
    assert repository.files.keys() == NAMES
    assert repository.commits == ["Push with Tunesmith"]
    assert f"{hub.address}/acme/one/commit/" in printed.out
    found = ts.pull_adapter("acme/one", progress=False)
    assert found.found.verified == len(NAMES) - 1
    for name, content in repository.files.items():
        assert (found.folder / name).read_bytes() == content
    assert TOKEN not in printed.out + printed.err
    for path in {p for p in tmp_path.rglob("*") if p.is_file()} - before:
        assert TOKEN.encode() not in path.read_bytes(), path
    repository.files["theirs.txt"] = b"theirs"
    push(run, "acme/one", report=False)
    assert len(repository.commits) == 2
    assert repository.files.keys() == {*NAMES, "theirs.txt"} - {"report.html"}


def test_a_public_repository_is_written_to_only_on_purpose(run, hub):
    push(run, "acme/open", public=True)
    assert not hub.repositories["acme/open"].private
    with pytest.raises(StorageError, match="is a public repository"):
        push(run, "acme/open")
    assert len(hub.repositories["acme/open"].commits) == 1


def test_whoever_is_not_logged_in_or_may_not_gets_the_way_out(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(StorageError, match=r"cannot be written on the hub.*hf auth login"):
        push(run, "acme/one")
    with pytest.raises(StorageError, match="no such repository, or you may not see it"):
        ts.pull_adapter("acme/one", progress=False)
    monkeypatch.setattr("tunesmith.exports.places.get_token", lambda: None)
    with pytest.raises(StorageError, match="those alone who are logged in"):
        push(run, "acme/one")
    assert hub.repositories == {}


def test_the_command_asks_first_and_pushes_nothing_without_a_yes(run, tmp_path, capsys):
    words = ["adapters", "push", str(run), "--repo", str(tmp_path / "out")]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "adapter_model.safetensors" in printed.err
    assert "Give --yes to push it, or --dry-run to look only." in printed.err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pushed"] is False
    noticed(run, "phone numbers in the text, such as 01… (13 characters) (2 rows)")
    assert main([*words, "--dry-run"]) == 1
    capsys.readouterr()
    assert main([*words, "--yes", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "findings"
    assert main([*words, "--yes", "--allow", "personal_data"]) == 0
    assert main(["adapters", "pull", str(tmp_path / "out"), "--out", str(tmp_path / "in")]) == 0
    assert "verified by SHA-256" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_model_goes_and_comes_back_too(tmp_path):
    train_run(config(tmp_path, method={"kind": "full"}, train={"steps": 1, "rows_per_step": 3}))
    push(tmp_path / "run", tmp_path / "out", report=False)
    found = ts.pull_adapter(str(tmp_path / "out"), out=tmp_path / "into", progress=False)
    assert found.found.verified > 3
    answers = [
        str(ts.load(str(folder)).generate(["say 3"], max_new_tokens=6)[0])
        for folder in (tmp_path / "run", tmp_path / "into")
    ]
    assert answers[0] == answers[1]
