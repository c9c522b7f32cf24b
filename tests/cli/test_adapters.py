"""`tunesmith adapters`: list, show and verify over runs and folders; export's refusals."""

import json
import shutil

import pytest

from tests.runs.tiny import config
from tunesmith.adapters.folder import FILE
from tunesmith.runs.run import train_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run `one` in a folder of runs, over a tiny base."""
    folder = tmp_path_factory.mktemp("runs")
    made = config(folder, goal="Say numbers", train={"steps": 1, "rows_per_step": 3})
    made = made.model_copy(update={"out": str(folder / "runs" / "one")})
    train_run(made)
    return folder


@pytest.fixture
def root(trained):
    return trained / "runs"


@pytest.fixture
def copied(trained, tmp_path):
    """The adapter alone, as from elsewhere: without what Tunesmith wrote beside it."""
    folder = shutil.copytree(trained / "runs" / "one" / "adapter", tmp_path / "given" / "theirs")
    (folder / FILE).unlink()
    return folder


def test_adapters_of_runs_and_of_folders_are_listed(root, copied, tunesmith):
    ended = tunesmith("adapters", "list", copied.parent, "--root", root)
    first, second = (line.split() for line in ended.out.splitlines()[1:3])
    assert ended.status == 0
    assert first[:2] == ["one", "lora"]
    assert "run" in first
    assert ["one", "Say", "numbers"] in [line.split() for line in ended.out.splitlines()]
    assert second[:2] == ["theirs", "lora"]
    assert second[-2:-1] == ["PEFT"]


def test_the_list_is_one_document(root, copied, tunesmith):
    found = tunesmith("adapters", "list", copied, "--root", root, "--json").document["adapters"]
    one, theirs = found
    assert (one["name"], one["rank"], one["goal"], one["fault"]) == ("one", 2, "Say numbers", None)
    assert one["data"] == "rows.jsonl"
    assert one["score"]["check"] == "exact"
    assert one["run"] == str(root / "one")
    assert len(one["base"]["sha256"]) == 64
    assert (theirs["base"]["sha256"], theirs["run"], theirs["score"]) == (None, None, None)
    assert theirs["parameters"] == one["parameters"] > 0


def test_a_damaged_adapter_is_listed_with_its_fault(root, copied, tunesmith):
    (copied / "adapter_config.json").write_text("{")
    ended = tunesmith("adapters", "list", copied, "--root", root)
    assert ended.status == 0
    (told,) = (line for line in ended.out.splitlines() if line.startswith("theirs cannot be read"))
    assert "adapter_config.json: is no JSON" in told
    (*_, broken) = tunesmith("adapters", "list", copied, "--root", root, "--json").document[
        "adapters"
    ]
    assert "adapter_config.json" in broken["fault"]


def test_no_adapters_are_no_error_and_a_named_folder_without_any_is(tmp_path, tunesmith):
    ended = tunesmith("adapters", "list", "--root", tmp_path / "runs")
    assert (ended.status, "No adapters in" in ended.out) == (0, True)
    ended = tunesmith("adapters", "list", tmp_path)
    assert (ended.status, "there is not an adapter in it" in ended.err) == (1, True)


@pytest.mark.parametrize("name", ["one", "runs/one", "runs/one/adapter"])
def test_an_adapter_is_shown_by_the_name_of_its_run_and_by_its_folder(
    name, trained, tunesmith, monkeypatch
):
    monkeypatch.chdir(trained)
    ended = tunesmith("adapters", "show", name)
    assert ended.status == 0
    for text in ("Say numbers", "adapter_model.safetensors", "tunesmith adapters export"):
        assert text in ended.out
    document = tunesmith("adapters", "show", name, "--json").document
    assert document["settings"]["rank"] == 2
    assert document["files"]["tunesmith.json"] > 0
    assert len(document["next"]) == 3


def test_what_fits_is_verified(root, tunesmith):
    ended = tunesmith("adapters", "verify", "one", "--root", root)
    assert (ended.status, " fits " in ended.out) == (0, True)
    document = tunesmith("adapters", "verify", "one", "--root", root, "--json").document
    assert (document["fits"], document["mismatches"]) == (True, [])


def test_a_base_that_the_adapter_names_and_that_cannot_be_used_is_told_with_who_names_it(
    trained, copied, tunesmith
):
    path = copied / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "base_model_name_or_path": "gpt2"}))
    ended = tunesmith("adapters", "verify", copied)
    assert (ended.status, f"{copied} names 'gpt2' as its base" in ended.err) == (1, True)
    assert "--model" in ended.err
    assert "qwen2" in ended.err
    path.write_text(json.dumps({**config, "lora_alpha": "much"}))
    ended = tunesmith("adapters", "verify", copied, "--model", trained / "base")
    assert "lora_alpha is 'much'" in ended.out
    assert not any(line.strip() == "->" for line in ended.out.splitlines())


def test_an_export_that_is_not_run_is_not_said_to_be(root, tmp_path, tunesmith):
    words = ("adapters", "export", "one", "--root", root, "--to", "peft", "--prompts", 0)
    ended = tunesmith(*words, "--out", tmp_path / "a")
    assert ended.status == 0
    assert "it is run on" not in ended.out + ended.err
    assert "It was not run: 0 prompts" in ended.out


def test_every_mismatch_is_told_with_its_remedy_and_ends_with_1(
    root, trained, copied, tmp_path, tunesmith
):
    other = shutil.copytree(trained / "base", tmp_path / "other")
    words = ("adapters", "verify", copied, "--model", other)
    ended = tunesmith(*words)
    assert ended.status == 1
    assert "name: it names" in ended.out
    assert "--force" in ended.out
    forced = tunesmith(*words, "--force")
    assert (forced.status, "overridden by force" in forced.out) == (0, True)
    (other / "generation_config.json").write_text('{"eos_token_id": 0}')
    ended = tunesmith("adapters", "verify", "one", "--root", root, "--model", other, "--force")
    assert ended.status == 1
    assert "hash: its base" in ended.out
    assert "the config differs; the weights and tokenizer are the same" in ended.out
    assert "generation_config.json" in ended.out
    document = tunesmith(
        "adapters", "verify", "one", "--root", root, "--model", other, "--json"
    ).document
    (mismatch,) = document["mismatches"]
    assert (mismatch["kind"], mismatch["differs"]) == ("hash", ["config"])
    assert not document["fits"]


def test_a_byte_that_was_changed_is_told_and_not_loaded_unless_it_is_meant(
    trained, tmp_path, tunesmith
):
    folder = shutil.copytree(trained / "runs" / "one" / "adapter", tmp_path / "one")
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    words = ("adapters", "verify", folder, "--model", trained / "base")
    ended = tunesmith(*words)
    assert ended.status == 1
    assert "files: adapter_model.safetensors was changed: SHA-256 " in ended.out
    assert "-> Copy the folder again" in ended.out
    assert tunesmith(*words, "--force").status == 0
    (mismatch,) = tunesmith(*words, "--json").document["mismatches"]
    assert (mismatch["kind"], mismatch["differs"]) == ("files", ["adapter_model.safetensors"])
    export = ("adapters", "export", folder, "--to", "peft", "--out", tmp_path / "again")
    export = (*export, "--prompts", 0, "--model", trained / "base")
    refused = tunesmith(*export)
    assert (refused.status, "is not as it was written" in refused.err) == (1, True)
    assert tunesmith(*export, "--force").status == 0
    words = ("adapters", "verify", tmp_path / "again", "--model", trained / "base")
    assert tunesmith(*words).status == 0


def test_what_is_no_adapter_is_refused(root, tmp_path, tunesmith):
    for command in ("show", "verify"):
        ended = tunesmith("adapters", command, tmp_path / "none", "--root", root)
        assert (ended.status, "is not an adapter" in ended.err) == (1, True)


def test_an_export_is_told_and_is_one_document(root, tmp_path, tunesmith):
    words = ("adapters", "export", "one", "--root", root, "--to", "vllm", "--prompts", 1)
    ended = tunesmith(*words, "--out", tmp_path / "a")
    assert ended.status == 0
    assert "1 of 1 greedy answer is the same in PEFT" in ended.out
    assert "--enable-lora" in ended.out
    document = tunesmith(*words, "--out", tmp_path / "b", "--json").document
    assert {"out", "kind", "bytes", "largest_difference", "scores"} <= document.keys()
    assert document["kind"] == "vllm"
    refused = tunesmith(*words, "--out", tmp_path / "b", "--json")
    assert (refused.status, refused.document["error"]["code"]) == (1, "exists")


def test_a_form_that_is_not_known_is_wrong_usage(root, tmp_path, tunesmith):
    ended = tunesmith("adapters", "export", "one", "--to", "onnx", "--out", tmp_path / "a")
    assert ended.status == 2
    assert json.dumps("peft")[1:-1] in ended.err
