import pytest

from tunesmith.cli.command import key_lines
from tunesmith.cli.keys import read_file_words, read_flags
from tunesmith.config import load_run_config
from tunesmith.config.keys import config_keys
from tunesmith.config.methods import OTHER_NAMES, method_notes
from tunesmith.config.run import RunConfig
from tunesmith.config.settings import known_keys
from tunesmith.core.errors import UsageError

KEYS = config_keys()


def values(*words):
    positional, nested = read_flags(words, known=KEYS)
    assert positional == []
    return nested


def test_every_key_of_a_run_is_listed_with_a_type_and_help():
    assert set(KEYS) == set(known_keys(RunConfig))
    assert all(key.type != "value" for key in KEYS.values())
    assert all(key.help for key in KEYS.values())


def test_the_help_names_every_key_with_its_default_once():
    lines = list(key_lines(KEYS, width=80))
    for name in KEYS:
        assert sum(line.split()[:1] == [f"--{name}"] for line in lines) == 1
    assert "  --method.rank  whole number  [default: 16]" in lines
    assert "  --data.overflow  error | truncate | drop  [default: error]" in lines
    assert all(len(line) <= 80 for line in lines)


def test_a_key_of_one_kind_only_says_so():
    assert KEYS["method.rank"].kinds == ("lora", "qlora")
    assert KEYS["method.init"].kinds == tuple(method_notes())
    assert KEYS["method.tokens"].kinds == ("prompt", "p-tuning")
    kinds = KEYS["method.kind"].type.split(" | ")
    assert kinds[:6] == ["lora", "qlora", "full", "prompt", "p-tuning", "prefix"]
    assert set(kinds) == {*method_notes(), *OTHER_NAMES}


def test_a_help_that_kinds_share_is_said_once():
    for key in KEYS.values():
        parts = key.help.split("; ")
        assert len(parts) == len(set(parts)), key.name


def test_flags_become_the_values_that_the_config_takes():
    nested = values(
        "--method.rank", "8", "--train.lr=1e-3", "--data", "a.jsonl", "--method", "lora"
    )
    config = load_run_config(None, nested)
    assert config.method.rank == 8
    assert config.train.lr == 1e-3
    assert config.data.train == "a.jsonl"


def test_dashes_do_for_underscores():
    assert values("--train.tokens-per-step", "512") == {"train": {"tokens_per_step": 512}}


def test_commas_separate_what_a_list_takes():
    nested = values("--evaluate.forgetting.probes", "wikitext, copa")
    assert nested["evaluate"] == {"forgetting": {"probes": ["wikitext", "copa"]}}
    assert values("--evaluate.forgetting.probes", "[copa]")["evaluate"] == {
        "forgetting": {"probes": ["copa"]}
    }


@pytest.mark.parametrize("text", ["no", "Answer: yes", "1e5", "null and void", "'quoted", "- a"])
def test_text_stays_text_whatever_yaml_would_make_of_it(text):
    config = load_run_config(None, values("--goal", text, "--data", "a.jsonl"))
    assert config.goal == text


def test_null_takes_a_value_away():
    assert values("--goal", "null") == {"goal": None}


def test_a_mapping_is_given_pair_by_pair():
    nested = values("--data.map", "prompt=question", "--data.map", "completion=answer")
    assert nested == {"data": {"map": {"prompt": "question", "completion": "answer"}}}


def test_a_switch_needs_no_value():
    nested = values("--train.tensorboard", "--train.seed", "3")
    assert nested == {"train": {"tensorboard": True, "seed": 3}}


def test_lists_are_given_as_yaml():
    nested = values("--evaluate.checks", "[{kind: json}]", "--method.targets", "[q_proj, v_proj]")
    assert nested["evaluate"] == {"checks": [{"kind": "json"}]}
    assert nested["method"] == {"targets": ["q_proj", "v_proj"]}


def test_negative_numbers_are_values():
    assert values("--train.seed", "-1") == {"train": {"seed": -1}}


def test_every_unknown_flag_is_named_with_the_nearest_known_one():
    with pytest.raises(UsageError) as refused:
        values("--method.rnk", "8", "--learning-rate", "1", "--rank", "2", "--zzz", "1")
    lines = refused.value.message.splitlines()
    assert lines[0] == "There is no flag --method.rnk; did you mean --method.rank?"
    assert lines[1] == "There is no flag --learning-rate; here it is --train.lr."
    assert lines[2] == "There is no flag --rank; did you mean --method.rank?"
    assert lines[3] == "There is no flag --zzz."
    assert len(lines) == 4


def test_a_flag_without_value_or_given_twice_is_refused():
    with pytest.raises(UsageError, match=r"--method\.rank needs a value"):
        values("--method.rank")
    with pytest.raises(UsageError, match=r"--data\.train is given twice"):
        values("--data", "a", "--data.train", "b")


def test_words_between_flags_are_kept_apart():
    positional, nested = read_flags(["a.yaml", "--train.seed", "1", "b"], known=KEYS)
    assert positional == ["a.yaml", "b"]
    assert nested == {"train": {"seed": 1}}


def test_a_file_is_the_training_data_of_its_config():
    known = {name: key for name, key in KEYS.items() if name in ("data.map", "model")}
    words = ["--model", "m", "--data.map", "prompt=q"]
    data, nested = read_file_words("a.jsonl", words, known=known)
    assert (data, nested) == ("a.jsonl", {"model": "m", "data": {"map": {"prompt": "q"}}})
    with pytest.raises(UsageError, match=r"no flag --train\.seed \(known: --model, --data\.map\)"):
        read_file_words("a.jsonl", ["--train.seed", "1"], known=known)
    with pytest.raises(UsageError, match=r"not also b\.jsonl"):
        read_file_words("a.jsonl", ["b.jsonl"], known=known)
