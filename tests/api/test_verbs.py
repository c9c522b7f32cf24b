"""Every verb from Python: what it gives is the command's document, and shows itself."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch

import tunesmith as ts
from tests.runs.tiny import UNMEASURED, base_folder, rows_file
from tunesmith.api.show import Outcome
from tunesmith.cli.main import main
from tunesmith.config.checks import CheckSettings

EVALUATE = {**UNMEASURED, "timed_rows": 0, "max_new_tokens": 4}
QUICK = {"train.rows_per_step": 3, "evaluate": EVALUATE}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a base, rows, and two runs that were compared; its own cache."""
    root = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("TUNESMITH_HOME", str(root / "home"))
        base_folder(root / "base")
        rows_file(root / "rows.jsonl")
        found = ts.compare(
            "rows.jsonl",
            methods=[{"name": "one", "kind": "lora", "rank": 1}, ts.LoRA(rank=2)],
            model="base",
            checks="exact",
            steps=3,
            lr=0.01,
            eval=0.25,
            dtype="float32",
            settings=QUICK,
            out="runs",
            progress=False,
        )
        yield root, found


@pytest.fixture(autouse=True)
def inside(place, monkeypatch):
    monkeypatch.chdir(place[0])
    monkeypatch.setenv("TUNESMITH_HOME", str(place[0] / "home"))


def printed(capsys, *words):
    capsys.readouterr()
    main([*words, "--json"])
    return steady(json.loads(capsys.readouterr().out))


def steady(document):
    """Without the estimate of a time, which is measured anew."""
    return {key: value for key, value in document.items() if key != "training"}


def plain(outcome):
    return steady(json.loads(json.dumps(outcome.to_json(), default=str)))


def test_a_comparison_has_its_runs_and_its_page(place):
    _, found = place
    assert list(found.runs) == ["one", "lora"]
    assert found.report.is_file()
    assert all(run.report.is_file() for run in found.runs.values())
    assert "Runs that trained together" in str(found)
    assert [row["method"] for row in found.to_json()["runs"]] == ["lora", "lora"]
    again = ts.compare(resume="runs", progress=False)
    assert again.to_json()["runs"] == found.to_json()["runs"]


def test_a_page_that_cannot_be_drawn_is_told_and_ends_nothing(monkeypatch):
    def broken(*_args, **_options):
        raise KeyError("arms")

    monkeypatch.setattr("tunesmith.report.writing.comparison_page", broken)
    said = []
    found = ts.compare(resume="runs", on_event=lambda _, event: said.append(event), progress=False)
    assert found.is_good
    (notice,) = (each for each in said if getattr(each, "code", "") == "report")
    assert "`tunesmith report runs` draws it again" in notice.message


PAIRS = {
    "check": (
        lambda: ts.check("rows.jsonl", model="base", progress=False),
        ("data", "check", "rows.jsonl", "--model", "base"),
    ),
    "show": (
        lambda: ts.show("rows.jsonl", rows=2, tokens=True, model="base"),
        ("data", "show", "rows.jsonl", "-n", "2", "--tokens", "--model", "base"),
    ),
    "list_adapters": (ts.list_adapters, ("adapters", "list")),
    "show_adapter": (lambda: ts.show_adapter("lora"), ("adapters", "show", "lora")),
    "verify": (lambda: ts.verify("runs/one", progress=False), ("adapters", "verify", "runs/one")),
    "conflicts": (
        lambda: ts.conflicts(["runs/one", "runs/lora"], scores=False, progress=False),
        ("adapters", "conflicts", "runs/one", "runs/lora", "--no-scores"),
    ),
    "list_runs": (ts.list_runs, ("runs", "list")),
    "show_run": (lambda: ts.show_run("one"), ("runs", "show", "one")),
    "write_report": (lambda: ts.write_report("runs/one"), ("report", "runs/one")),
    "list_models": (ts.list_models, ("model", "list")),
    "list_methods": (ts.list_methods, ("methods",)),
}


@pytest.mark.parametrize("verb", PAIRS)
def test_a_verb_gives_the_document_that_its_command_prints(verb, capsys):
    call, words = PAIRS[verb]
    outcome = call()
    assert isinstance(outcome, Outcome)
    assert plain(outcome) == printed(capsys, *words)
    assert outcome.is_good
    assert str(outcome)
    assert outcome._repr_html_().startswith("<pre")


def test_a_run_is_evaluated_on_rows_in_memory(place):
    run = place[1].runs["one"]
    rows = [{"prompt": f"say {i}", "completion": "7"} for i in range(3)]
    found = ts.evaluate(run, rows, out="evaluated", progress=False)
    assert found.to_json()["rows"] == 3
    assert found.verdict in str(found)
    with pytest.raises(ts.ConfigError, match="is not a run"):
        ts.evaluate("base", progress=False)
    other = ts.evaluate("base", rows, checks=["exact"], settings={"evaluate": EVALUATE})
    assert "base" in other.to_json()["arms"]


def test_two_adapters_become_one_that_is_handed_over(place):
    runs = place[1].runs
    merged = ts.merge(list(runs.values()), "merged", method="ties", rank=2, progress=False)
    assert merged.to_json()["rank"] == 2
    exported = ts.export(merged.out, "peft", "exported", prompts=0, progress=False)
    assert (exported.out / "adapter_model.safetensors").is_file()
    with pytest.raises(ts.UsageError, match="How are they combined"):
        ts.merge(list(runs.values()), "other")


def test_rows_are_split_and_a_config_is_drafted():
    parts = ts.split([{"prompt": f"ask {i}", "completion": "7"} for i in range(20)], "parts")
    count = sum(len(file.read_text().splitlines()) for file in (parts.train, parts.eval))
    assert count == 20
    drafted = ts.init(parts.train, "drafted.yaml", settings={"data.format": "prompt-completion"})
    assert drafted.out.is_file()
    assert ts.check([{"prompt": "x"}], model="base", progress=False).is_good is False


@pytest.mark.parametrize(
    ("more", "commands"),
    [
        ([], ["tunesmith train made-0.yaml"]),
        ([{"prompt": "x", "completion": ""}], ["tunesmith train made-1.yaml --data.drop empty"]),
        (
            [{"prompt": "x", "completion": ""}, {"prompt": "x"}],
            ["tunesmith data check own.jsonl", "tunesmith train made-2.yaml"],
        ),
    ],
)
def test_what_a_draft_names_next_works(more, commands):
    """Rows that are empty can be dropped; other faults have to be seen first."""
    rows = [*({"prompt": f"ask {i}", "completion": "7"} for i in range(20)), *more]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drafted = ts.init("own.jsonl", f"made-{len(more)}.yaml")
    assert drafted.next_commands == commands
    assert all(f"  {command}\n" in f"{drafted}\n" for command in commands)


def test_more_data_or_not(place):
    found = ts.curve(
        "rows.jsonl",
        shares=[0.5, 1],
        model="base",
        steps=2,
        lr=0.01,
        eval=0.25,
        settings={"train.rows_per_step": 3, "evaluate": UNMEASURED},
        out="curve",
        progress=False,
    )
    assert found.verdict in str(found)
    with pytest.raises(ts.UsageError, match="two or more different shares"):
        ts.curve("rows.jsonl", shares=[1])


def test_the_doctor_knows_whether_threads_spin(monkeypatch):
    assert ts.doctor().to_json()["processor"]["spin_count"] == "3000"
    monkeypatch.setattr("tunesmith.setup.doctor.torch_came_first", True)
    late = ts.doctor()
    assert late.to_json()["processor"]["spin_count"] is None
    assert "torch was imported before tunesmith" in str(late)


def test_a_document_is_json_as_it_is(place):
    for outcome in (ts.list_models(), ts.init("rows.jsonl", "as-json.yaml")):
        assert json.loads(json.dumps(outcome.to_json()))


def test_several_files_are_shown_or_refused_in_words():
    rows_file(Path("more.jsonl"), count=3)
    both = ["rows.jsonl", "more.jsonl"]
    found = ts.show(both, model="base", rows=100)
    assert {row["file"] for row in found.to_json()["rows"]} == set(both)
    for call in (
        lambda: ts.init(both, "several.yaml"),
        lambda: ts.split(both, out="sides"),
        lambda: ts.evaluate("runs/one", both),
        lambda: ts.distill("Be brief.", both, "distilled.jsonl"),
    ):
        with pytest.raises(ts.UsageError, match="takes one file, and 2 are given"):
            call()
    assert ts.init(["rows.jsonl"], "single.yaml").to_json()["rows"]


def test_a_run_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    ts.train(
        "rows.jsonl",
        model="base",
        steps=1,
        settings={**QUICK, "train.threads": before + 1},
        out="threads",
        progress=False,
    )
    assert json.loads(Path("threads/environment.json").read_text())["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_every_kind_of_check_has_a_class():
    given = {each for name, each in vars(ts.checks).items() if not name.startswith("_")}
    assert given == set(get_args(get_args(CheckSettings)[0]))
