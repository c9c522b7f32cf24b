"""`tunesmith data distill`: its flags, what it prints, and how each end of it is told."""

import inspect
import json
import re
import shlex

import pytest

from tests.cli.summaries import Summary
from tests.runs.tiny import talking_base
from tunesmith.cli.data import distill as command
from tunesmith.config.distill import DistillSettings
from tunesmith.core.progress import Cancelled
from tunesmith.distillation import instruction as workflow
from tunesmith.distillation.instruction import Distilled, Failed
from tunesmith.runs import run as runs

HAS_F = "{kind: regex, name: has_f, pattern: f}"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return talking_base(tmp_path_factory.mktemp("talking"))


@pytest.fixture
def words(base, tmp_path):
    """The command line for ten questions."""
    (tmp_path / "prompt.txt").write_text("Speak as a bee would.\n")
    rows = [json.dumps({"prompt": f"say {i}"}) for i in range(10)]
    (tmp_path / "inputs.jsonl").write_text("\n".join(rows))
    files = {"prompt": "prompt.txt", "inputs": "inputs.jsonl", "out": "rows.jsonl"}
    given = [word for name, file in files.items() for word in (f"--{name}", tmp_path / file)]
    return ["data", "distill", *given, "--model", base, "--max-new-tokens", 12]


def test_rows_are_written_and_can_be_trained_on(words, base, tmp_path, tunesmith):
    ended = tunesmith(*words, "--check", HAS_F, "--temperature", 1, "--samples", 2, "--json")
    assert ended.status == 0
    document = ended.document
    assert document["rows"] + len(document["failed"]) == document["inputs"] == 10
    assert document["stopped"] is False
    checked = tunesmith("data", "check", tmp_path / "rows.jsonl", "--model", base, "--json")
    assert (checked.status, checked.document["rows"]) == (0, document["rows"])


def test_every_input_without_a_row_is_shown_with_its_faults(words, tunesmith):
    flags = ("--check", HAS_F, "--temperature", 1, "--samples", 2)
    document = tunesmith(*words, *flags, "--json").document
    page = tunesmith(*words, *flags, "--resume").out
    assert document["failed"]
    assert f"{len(document['failed'])} input" in page
    for failed in document["failed"]:
        faults = ", ".join(f"{fault} {count}" for fault, count in failed["faults"].items())
        assert f"line {failed['line']}: {failed['question']} ({faults})" in page


def test_what_comes_next_can_be_typed(words, tmp_path, tunesmith, monkeypatch):
    done = tunesmith(*words, "--temperature", 1, "--json").document
    _, lora, prompt = done["next"]
    text = (tmp_path / "prompt.txt").read_text().strip()
    taken = []
    monkeypatch.setattr(runs, "train_run", lambda config, **_: taken.append(config) or Summary())
    for line in (lora, prompt.replace(f"$(cat {tmp_path / 'prompt.txt'})", text)):
        tunesmith(*shlex.split(line)[1:])
    assert [config.method.kind for config in taken] == ["lora", "prompt"]
    assert taken[1].method.init_text == text
    assert {config.data.train for config in taken} == {done["out"]}


@pytest.fixture
def config(base, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        f"model: {base}\ndata: {{train: some.jsonl}}\ntrain: {{seed: 5}}\n"
        f"evaluate: {{max_new_tokens: 12, checks: [{HAS_F}]}}\n"
    )
    return path


@pytest.fixture
def taken(monkeypatch):
    """What the command hands on; nothing is drawn."""
    given = {}

    def distil(run, settings, **options):
        given.update(run=run, settings=settings, **options)
        if "cancel" in given:
            raise Cancelled
        failed = tuple(Failed(i, "why\nme?" * 20, {"cut": 2}) for i in range(12))
        done = Distilled("out", "state", 20, rows=5, draws=40, failed=failed, **given["end"])
        if done.stopped:
            raise Cancelled(result=done)
        return done

    given["end"] = {"left": 3, "instruction_tokens": 300, "seconds": 70.0}
    monkeypatch.setattr(workflow, "distill", distil)
    return given


def test_a_config_gives_base_checks_longest_answer_and_seed(words, config, taken, tunesmith):
    tunesmith(*words[:8], "--config", config)
    run = taken["run"]
    assert (run.train.seed, run.evaluate.max_new_tokens) == (5, 12)
    assert run.model in str(config.read_text())
    assert [check.name for check in run.evaluate.checks] == ["has_f"]
    tunesmith(*words[:8], "--config", config, "--seed", 6, "--model", "m", "--max-new-tokens", 9)
    run = taken["run"]
    assert (run.train.seed, run.evaluate.max_new_tokens, run.model) == (6, 9, "m")


def test_a_stop_ends_in_130_and_says_the_command_that_goes_on(words, taken, tunesmith):
    flags = ["--samples", 7, "--check", HAS_F, "--check", "json", "--seed", 3]
    taken["cancel"] = True
    ended = tunesmith(*words, *flags)
    assert ended.status == 130
    again = shlex.split(ended.err.partition("To resume: ")[2])
    assert again[0] == "tunesmith"
    before = taken["run"], taken["settings"]
    tunesmith(*again[1:])
    assert (taken["run"], taken["settings"]) == before
    assert taken["resume"] is True


def test_many_failed_inputs_are_cut_short_and_counted(words, taken, tunesmith):
    page = tunesmith(*words).out
    assert "12 inputs without an answer that passes" in page
    assert "and 2 more" in page
    assert "3 inputs still to be answered" in page
    assert "The instruction adds 300 tokens to each prompt" in page
    assert "All answers to 12 inputs were cut: give a larger max_new_tokens" in page


def test_an_instruction_shorter_than_what_it_replaces_is_told_so(words, taken, tunesmith):
    taken["end"]["instruction_tokens"] = -3
    assert "With the instruction a prompt is 3 tokens shorter" in tunesmith(*words).out


def test_an_interrupt_says_what_is_saved_and_how_to_go_on(words, monkeypatch, tunesmith):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "distill", interrupted)
    ended = tunesmith(*words, "--json")
    assert ended.status == 130
    assert "--resume" in ended.document["error"]["message"]


def test_nothing_that_passes_ends_in_1_with_a_remedy(words, tmp_path, tunesmith):
    ended = tunesmith(*words, "--check", "json", "--json")
    assert ended.status == 1
    assert ended.document["error"]["code"] == "nothing_passed"
    assert "--model" in ended.document["error"]["remedy"]
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "status", "says"),
    [
        (["--check", "json", "--config", "x.yaml"], 2, "give one of them"),
        (["--check", "{kind: regex, pattern: [}"], 2, "not valid YAML"),
        (
            ["--check", "jason"],
            1,
            "error: check jason: unknown kind 'jason'; did you mean 'json'? Known: 'exact'",
        ),
        (["--check", "json", "--check", "regex"], 1, "check regex: `pattern`: is missing"),
        (["--check", "jason"], 1, "docs/checks.md lists the kinds"),
        (["--check", "{kind: regex, pattern: ((}"], 1, "regular expression"),
        (["--keep", "5"], 2, "set samples to 5 or more, or keep to 4 or less"),
        (["--temperature", "0"], 2, "same answer 4 times"),
        (["--samples", "0"], 2, "samples"),
        (["--config", "gone.yaml"], 1, "gone.yaml: does not exist"),
        (["--resume"], 1, "nothing to resume"),
    ],
)
def test_flags_that_cannot_be_are_refused(words, flags, status, says, tmp_path, tunesmith):
    ended = tunesmith(*words, *flags)
    assert (ended.status, says in ended.err) == (status, True), ended.err
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize("missing", ["--inputs", "--out"])
def test_what_is_asked_and_where_it_goes_must_be_named(words, missing, tunesmith):
    at = words.index(missing)
    ended = tunesmith(*words[:at], *words[at + 2 :])
    assert ended.status == 2
    assert missing in ended.err


def test_help_says_the_defaults_that_are_used():
    parameters = inspect.signature(command).parameters
    for name in ("samples", "keep", "temperature"):
        (option,) = parameters[name].annotation.__metadata__
        said = re.search(r"([\d.]+) by default", option.help)
        assert float(said[1]) == DistillSettings.model_fields[name].default
