"""Each fault of a config is one line, at its true place: the flag, or the file and key."""

import pytest

from tunesmith.config.load import load_run_config, parse_overrides
from tunesmith.core.errors import ConfigError


@pytest.fixture
def faults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def told(text, *words):
        """The lines for a file with this text (None: no file) and these flags."""
        path = None
        if text is not None:
            path = tmp_path / "c.yaml"
            path.write_text(f"data: {{train: a.jsonl}}\n{text}")
        flags = [*words, *([] if path else ["--data", "a.jsonl"])]
        with pytest.raises(ConfigError) as error:
            load_run_config(path and path.relative_to(tmp_path), parse_overrides(flags))
        return error.value.message.splitlines()

    return told


@pytest.mark.parametrize("text", [None, "train: {seed: 1}"])
def test_a_flags_fault_names_the_flag_and_not_the_file(faults, text):
    (line,) = faults(text, "--data.eval", "1.5")
    assert line == "--data.eval: a share must be at least 0 and below 1 (given: 1.5)"


def test_a_files_fault_names_the_file_and_the_key(faults):
    lines = faults("train: {max_grad_norm: -1}", "--data.eval", "1.5")
    assert len(lines) == 2
    assert lines[0].startswith("--data.eval: ")
    assert lines[1].startswith("c.yaml: `train.max_grad_norm`: ")


def test_a_flag_in_front_of_the_files_value_is_the_flags_fault(faults):
    (line,) = faults("train: {lr: 0.1}", "--train.lr", "-1")
    assert line.startswith("--train.lr: ")


def test_a_fault_inside_a_flags_value_names_flag_and_key(faults):
    (line,) = faults("goal: x", "--evaluate.checks", "[{kind: jsn}]")
    assert line.startswith("--evaluate.checks: `evaluate.checks.0.kind`: unknown kind 'jsn'")
    (line,) = faults("goal: x", "--method.rank_pattern", "q_proj=many")
    assert line.startswith("--method.rank_pattern: `method.rank_pattern.q_proj`: ")


def test_a_wrong_kind_of_method_is_told_at_its_flag(faults):
    (line,) = faults(None, "--method", "lorra")
    assert line.startswith("--method.kind: unknown kind 'lorra'; known: ")


def test_flags_that_do_not_go_with_the_files_keys_are_named_beside_the_file(faults):
    (line,) = faults(
        "train: {epochs: 3, max_grad_norm: 2}", "--train.steps", "8", "--train.max_grad_norm", "1"
    )
    assert line.startswith(
        "c.yaml with --train.steps, --train.max_grad_norm: `train`: give one of epochs"
    )
    (line,) = faults(None, "--train.steps", "8", "--train.epochs", "3")
    assert line.startswith("--train.epochs, --train.steps: `train`: give one of epochs")


def test_a_missing_value_is_told_where_the_config_is(faults):
    with pytest.raises(ConfigError, match=r"^command line: `data\.train`: "):
        load_run_config(None, parse_overrides(["--data.eval", "0.1"]))


@pytest.mark.parametrize(
    ("flag", "given", "expected"),
    [
        ("train.lr", "abc", "a number or auto (given: 'abc')"),
        ("train.warmup_steps", "few", "a whole number or auto (given: 'few')"),
        ("train.recompute", "maybe", "none, activations, layers or auto (given: 'maybe')"),
    ],
)
def test_a_wrong_value_of_several_types_is_one_fault(faults, flag, given, expected):
    assert faults("goal: x", f"--{flag}", given) == [f"--{flag}: {expected}"]


def test_a_union_in_a_file_is_one_fault_too(faults):
    assert faults("train: {lr: abc}") == ["c.yaml: `train.lr`: a number or auto (given: 'abc')"]
    (line,) = faults("evaluate: {checks: [{kind: json, schema: 5}]}")
    assert line == "c.yaml: `evaluate.checks.0.schema`: text or a mapping (given: 5)"
    (line,) = faults("method: {targets: 5}")
    assert line == "c.yaml: `method.targets`: all-linear or a list (given: 5)"


def test_inside_the_member_that_was_meant_its_own_fault_is_told(faults):
    (line,) = faults("method: {kind: lora, targets: [q_proj, 3]}")
    assert line.startswith("c.yaml: `method.targets.1`: ")
    (line,) = faults("goal: x", "--data.train", "[{path: a.jsonl, weight: -1}]")
    assert line.startswith("--data.train: `data.train.0.weight`: ")


def test_every_fault_is_told(faults):
    lines = faults("train: {lr: abc, seed: -1}", "--data.eval", "2", "--method.rank", "0")
    assert [line.split(": ")[0] for line in lines] == [
        "--data.eval", "--method.rank", "c.yaml", "c.yaml",
    ]  # fmt: skip
