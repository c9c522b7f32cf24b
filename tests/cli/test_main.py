import os
import subprocess
import sys

import pytest

from tests.cli_page import commands
from tunesmith import __version__
from tunesmith.core.errors import RunError

HEAVY = ("torch", "transformers", "numpy", "pyarrow", "gguf", "rich.console")


COMMANDS = list(commands())


def test_the_commands_are_the_documented_ones():
    assert {" ".join(words) for words in COMMANDS} == {
        *("demo", "doctor", "methods", "model list", "model pull", "init", "data check"),
        *("data show", "data split", "data distill", "data curve", "train", "compare", "chat"),
        *("evaluate", "report", "serve", "plan", "search", "reproduce"),
        *("runs list", "runs show", "adapters list", "adapters show"),
        *("rag index", "rag ask", "rag dataset", "rag evaluate"),
        *("adapters verify", "adapters conflicts", "adapters merge", "adapters export"),
        *("adapters push", "adapters pull"),
    }


def test_no_help_loads_anything_heavy():
    code = (
        "import sys\nfrom tunesmith.cli.main import main\n"
        f"for words in {[[], *map(list, COMMANDS)]}:\n"
        "    assert main([*words, '--help']) == 0, words\n"
        f"print('LOADED', *sorted(set({HEAVY}) & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_and_takes_json_and_debug(words, tunesmith):
    page = tunesmith(*words, "--help").out
    assert "--json " in page
    assert "--debug " in page
    assert "\n\n  " in page


def test_version_is_printed(tunesmith):
    ended = tunesmith("--version")
    assert (ended.status, ended.out) == (0, f"tunesmith {__version__}\n")


def test_without_a_command_there_is_help(tunesmith):
    ended = tunesmith()
    assert ended.status == 0
    assert "Commands:" in ended.out


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("verify", "x"), "`tunesmith adapters verify`"),
        (("export", "x"), "`tunesmith adapters export`"),
        (("push", "x"), "`tunesmith adapters push`"),
    ],
)
def test_a_command_of_a_group_is_named_where_the_group_was_left_out(words, near, tunesmith):
    ended = tunesmith(*words)
    assert ended.status == 2
    assert ended.err == f"error: No such command '{words[0]}'.\nDid you mean {near}?\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trian",), "trian"),
        (("runs",), "Missing command"),
        (("runs", "show"), "argument"),
        (("model", "pull", "a", "b"), "b"),
        (("chat", "--temperature", "hot"), "--temperature"),
    ],
)
def test_wrong_usage_ends_in_2_and_says_where_help_is(words, said, tunesmith):
    ended = tunesmith(*words)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert "--help` shows" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "list", "--root", "there"),
        ("runs", "show", "x", "--root", "there"),
        ("train", "--resume", "there"),
        ("init", "none.jsonl", "--out", "there"),
        ("demo", "--out", "there"),
    ],
    ids=" ".join,
)
def test_a_path_without_rights_is_no_wrong_usage(
    words, tunesmith, tmp_path, monkeypatch, replace_module
):
    """It is a refusal of whatever reads or writes there. As root all may be read: not here."""

    def refuse(**_):
        raise RunError("refused")

    replace_module("tunesmith.setup.demo", demo=refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert tunesmith(*words).status != 2


def test_wrong_usage_is_a_json_document_too(tunesmith):
    ended = tunesmith("runs", "list", "--rot", "x", "--json")
    assert ended.status == 2
    assert ended.document["error"]["code"] == "usage"
    assert "--rot" in ended.document["error"]["message"]


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"tunesmith {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("adapters", "export", "a", "--to", "onnx", "--out", "b"),
            "error: Invalid value for '--to': 'onnx' is not one of 'peft'",
        ),
        (
            ("data", "split", "a", "--out", "b", "--share", "some"),
            "error: Invalid value for '--share': must be a number",
        ),
        (("chat", "--seed", "-1"), "error: Invalid value for '--seed': must be 0 or more"),
    ],
)
def test_a_wrong_value_of_a_flag_is_refused_in_the_words_of_a_user(words, expected, tunesmith):
    ended = tunesmith(*words)
    assert ended.status == 2
    assert ended.err.startswith(expected)
