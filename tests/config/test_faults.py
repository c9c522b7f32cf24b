"""Each fault of a config is one line, at its true place: the flag, or the file and key."""

import pytest

from tunesmith.config.load import load_run_config, parse_overrides
from tunesmith.config.run import RunConfig
from tunesmith.config.settings import known_keys
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
    assert line.startswith("--method.kind: unknown kind 'lorra'; did you mean 'lora'? Known: ")


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
        ("train.lr", "abc", "must be a number or auto (given: 'abc')"),
        ("train.warmup_steps", "few", "must be a whole number or auto (given: 'few')"),
        ("train.recompute", "maybe", "must be none, activations, layers or auto (given: 'maybe')"),
    ],
)
def test_a_wrong_value_of_several_types_is_one_fault(faults, flag, given, expected):
    assert faults("goal: x", f"--{flag}", given) == [f"--{flag}: {expected}"]


def test_a_union_in_a_file_is_one_fault_too(faults):
    assert faults("train: {lr: abc}") == [
        "c.yaml: `train.lr`: must be a number or auto (given: 'abc')"
    ]
    (line,) = faults("evaluate: {checks: [{kind: json, schema: 5}]}")
    assert line == "c.yaml: `evaluate.checks.0.schema`: must be text or a mapping (given: 5)"
    (line,) = faults("method: {targets: 5}")
    assert line == "c.yaml: `method.targets`: must be all-linear or a list (given: 5)"


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {epochs: 0}", "`train.epochs`: must be above 0 (given: 0)"),
        ("train: {seed: 1.5}", "`train.seed`: must be a whole number (given: 1.5)"),
        ("train: {tensorboard: maybe}", "`train.tensorboard`: must be true or false"),
        ("train: 3", "`train`: must be keys with values (given: 3)"),
        ("method: 3", "`method`: must be keys with values (given: 3)"),
        ("evaluate: {checks: 3}", "`evaluate.checks`: must be a list (given: 3)"),
        ("goal: [a]", "`goal`: must be text (given: ['a'])"),
        ("dtype: int8", "`dtype`: must be auto, bfloat16, float16 or float32 (given: 'int8')"),
        ("train: {max_grad_norm: .nan}", "`train.max_grad_norm`: must be 0 or more"),
        (
            "evaluate: {checks: [{kind: ends_with, endings: []}]}",
            "`evaluate.checks.0.endings`: must hold 1 or more (holds 0)",
        ),
        ("evaluate: {checks: [{kind: regex}]}", "`evaluate.checks.0.pattern`: is missing"),
    ],
)
def test_a_value_is_refused_in_the_words_of_a_user(faults, text, expected):
    (line,) = faults(text)
    assert line.startswith(f"c.yaml: {expected}")


def test_no_fault_of_any_key_has_the_words_of_a_programmer(faults):
    odd = {"text": "[[1]]", "a number": "[a]", "a list": "{a: 1}"}
    for key in known_keys(RunConfig):
        for value in odd.values():
            try:
                lines = faults("goal: x", f"--{key}", value)
            except pytest.fail.Exception:  # the key takes it
                continue
            assert not any("Input should" in line or "Field required" in line for line in lines)


def test_of_keys_without_effect_only_those_are_blamed(faults):
    others = ["--evaluate.rows", "3", "--evaluate.consistency", "none"]
    (line,) = faults(None, "--evaluate.num_fewshot", "3", *others)
    assert line.startswith("--evaluate.num_fewshot: `evaluate`: num_fewshot has no effect")
    (line,) = faults(None, "--evaluate.num_fewshot", "3", "--evaluate.timed_rows", "2", *others)
    assert line.startswith("--evaluate.num_fewshot, --evaluate.timed_rows: `evaluate`: ")


@pytest.mark.parametrize("key", ["num_fewshot", "timed_rows"])
def test_what_checks_need_can_be_turned_off_without_checks(key):
    config = load_run_config(None, {"data": {"train": "a"}, "evaluate": {key: 0}})
    assert getattr(config.evaluate, key) == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [("goal: a\n\tout: b\n", ":2: a tab in column 1"), ("data:\n  train:\ta\n", ":2: a tab in")],
)
def test_a_tab_in_a_file_is_named_with_its_line_and_the_remedy(tmp_path, text, place):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_run_config(path, {})
    assert place in refused.value.message
    assert "spaces" in refused.value.remedy
