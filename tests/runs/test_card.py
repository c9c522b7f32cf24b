"""A run's card: what hubs read, all that is known of the run, nothing of this machine."""

import json
import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from peft import PeftModel

from tests.runs.test_origin import named_base  # noqa: F401  # a fixture
from tests.runs.tiny import config, rows_file
from tunesmith.adapters.folder import read_origin
from tunesmith.runs.card import licence_of, run_card
from tunesmith.runs.evaluate import evaluate_target
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.run import train_run

SECTIONS = (
    "Purpose",
    "Result",
    "What it forgot",
    "Method and settings",
    "Base",
    "Data",
    "What it must not be used for",
    "Limits",
    "How to use it",
)
SHORT = {"steps": 1, "rows_per_step": 3}


def card_of(run, name="adapter"):
    return ModelCard.load(run / name / "README.md")


@pytest.fixture
def trained(tmp_path, home):
    train_run(config(tmp_path, goal="Say numbers", train=SHORT))
    return tmp_path / "run"


def test_it_tells_purpose_result_method_base_data_and_limits(trained):
    card = card_of(trained)
    assert card.data.library_name == "peft"
    assert card.data.tags == ["tunesmith", "lora"]
    assert card.data.base_model is None  # a folder is not a model of the hub
    found = re.findall(r"^## (.*)$", card.text, re.MULTILINE)
    assert tuple(found) == SECTIONS
    assert "\n# Say numbers\n" in card.text
    assert re.search(r"\*\*Did it work\?\*\* (Yes|No|Cannot tell)\. Skill: ", card.text)
    assert (
        re.search(r"\| exact \| \d+ % \(\d+ % – \d+ %\) \|", card.text) or "| exact |" in card.text
    )
    assert re.search(r"\| rows.jsonl \| `[0-9a-f]{16}` \| not stated \|", card.text)
    assert "rank 2" in card.text
    assert "Not measured: forgetting, consistency, knowledge." in card.text


def test_nothing_of_this_machine_is_in_it(trained, tmp_path):
    text = (trained / "adapter" / "README.md").read_text()
    assert str(tmp_path) not in text
    assert "/" not in re.sub(r"https?://\S+", "", "".join(re.findall(r"^- base: .*$", text, re.M)))


def test_scores_are_in_the_head_and_what_it_is_not_for_follows_from_the_evidence(trained):
    folder = RunFolder(trained)
    evaluation = json.loads(folder.evaluation.read_text())
    check = {"score": 0.81234, "low": 0.7, "high": 0.9, "n": 40}
    evaluation["arms"]["tuned"]["checks"]["exact"].update(check)
    evaluation["verdict"]["answer"] = "no"
    probe = {"probe": "arithmetic", "measure": "accuracy", "outcome": "forgotten"}
    change = {"difference": -0.1, "low": -0.2, "high": -0.05, "margin": 0.02}
    evaluation["forgetting"] = [{**probe, **change}]
    folder.evaluation.write_text(json.dumps(evaluation))
    notice = {"event": "notice", "code": "personal_data", "message": "phone numbers (2 rows)"}
    with folder.events.open("a") as file:
        file.write(json.dumps(notice) + "\n")
    card = ModelCard(run_card(folder, read_origin(trained / "adapter")))
    (result,) = card.data.eval_results
    assert (result.metric_name, result.metric_value) == ("exact", 0.8123)
    assert {**result.metric_args, "base": 0} == {"low": 0.7, "high": 0.9, "rows": 40, "base": 0}
    assert "Found in the rows: phone numbers (2 rows)." in card.text
    for text in ("Its own purpose", "it did not work", "forgot of its base: arithmetic", "keys"):
        assert text in card.text


def test_a_base_of_the_hub_is_named_with_its_licence(tmp_path, named_base):  # noqa: F811
    train_run(config(tmp_path, model=named_base.name, train=SHORT, evaluate={}))
    card = card_of(tmp_path / "run")
    assert card.data.base_model == named_base.hub_id
    assert card.data.base_model_relation == "adapter"
    assert "its licence: Apache-2.0" in card.text
    assert "Not evaluated" in card.text


def test_the_licence_of_a_base_is_known_or_that_of_its_card(trained, tmp_path):
    folder, origin = RunFolder(trained), read_origin(trained / "adapter")
    assert "its licence: not known" in run_card(folder, origin)
    (tmp_path / "base" / "README.md").write_text("---\nlicense: cc-by-4.0\n---\nA base.\n")
    assert "its licence: cc-by-4.0" in run_card(folder, origin)
    published = replace(origin, hub_id="Qwen/Qwen3-0.6B")
    assert "its licence: Apache-2.0" in run_card(folder, published)


def test_the_head_is_valid_for_a_whole_model_too(tmp_path, named_base):  # noqa: F811
    method = {"kind": "full"}
    train_run(config(tmp_path, model=named_base.name, method=method, train=SHORT, evaluate={}))
    card = card_of(tmp_path / "run", "model")
    assert (card.data.library_name, card.data.base_model_relation) == ("transformers", "finetune")
    assert "PeftModel" not in card.text


def test_the_lines_for_peft_load_the_adapter(trained, tmp_path):
    (lines,) = re.findall(r"```python\n(from peft.*?)```", card_of(trained).text, re.DOTALL)
    lines = lines.replace("FOLDER-OF-base", str(tmp_path / "base"))
    names = {}
    exec(lines.replace('"FOLDER"', repr(str(trained / "adapter"))), names)
    assert isinstance(names["model"], PeftModel)


def test_the_lines_for_peft_load_an_adapter_with_its_own_tokens(tmp_path, home):
    method = {"kind": "lora", "rank": 2, "new_tokens": ["<new>"]}
    train_run(config(tmp_path, method=method, train=SHORT, evaluate={}))
    (lines,) = re.findall(r"```python\n(from peft.*?)```", card_of(tmp_path / "run").text, re.S)
    lines = lines.replace("FOLDER-OF-base", str(tmp_path / "base"))
    names = {}
    exec(lines.replace('"FOLDER"', repr(str(tmp_path / "run" / "adapter"))), names)
    assert len(names["tokenizer"]("<new>", add_special_tokens=False).input_ids) == 1


def test_a_second_evaluation_is_on_the_card_and_the_record_still_holds(trained, tmp_path):
    check = [{"kind": "regex", "name": "digits", "pattern": "[0-9]"}]
    evaluate_target(str(trained), {"evaluate": {"checks": check}})
    card = card_of(trained)
    assert "| digits |" in card.text
    assert "| exact |" not in card.text
    assert "like those that it was trained on" in card.text
    other = rows_file(tmp_path / "other.jsonl", count=7)
    evaluate_target(str(trained), {}, data=str(other))
    card = card_of(trained)
    assert "Scored on 7 rows of other.jsonl, a file of its own" in card.text
    assert "held out" not in str(card.data.to_dict()["model-index"])
    evaluate_target(str(trained), {})  # which loads it


def test_the_licence_of_the_data_is_the_one_given_or_that_of_its_card(tmp_path):
    rows = tmp_path / "data" / "rows.jsonl"
    rows.parent.mkdir()
    settings = config(tmp_path).data
    assert licence_of(settings, str(rows)) is None
    (rows.parent / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n\n# Rows\n")
    assert licence_of(settings, str(rows)) == "cc-by-4.0"
    assert licence_of(settings, str(rows.parent)) == "cc-by-4.0"
    given = settings.model_copy(update={"licence": "MIT"})
    assert licence_of(given, str(rows)) == "MIT"


def test_data_of_the_hub_and_languages_are_in_the_head(trained):
    folder = RunFolder(trained)
    environment = json.loads(folder.environment.read_text())
    environment["data"] = {"hf:acme/rows": ""}
    environment["rows"]["languages"] = {"ko": 90, "en": 20, "fr": 1}
    folder.environment.write_text(json.dumps(environment))
    text = run_card(folder, read_origin(trained / "adapter"))
    head = ModelCard(text).data
    assert head.datasets == ["acme/rows"]
    assert head.language == ["ko", "en"]
    assert "Languages of the rows: ko, en." in text
