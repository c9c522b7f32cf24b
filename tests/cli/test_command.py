import contextlib
import functools
import inspect
import json
import operator
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import tunesmith as ts
from tunesmith.api.show import Outcome
from tunesmith.cli.command import command, write_document
from tunesmith.cli.main import app
from tunesmith.core.errors import MemoryRefusal, UsageError


def run(function, *, as_json=False, debug=False):
    with pytest.raises(typer.Exit) as ended:
        command(function)(as_json=as_json, debug=debug)
    return ended.value.exit_code


def refuses(error):
    def function() -> Outcome:
        raise error

    return function


class Fine(Outcome):
    def to_json(self):
        return {"loss": float("nan")}

    def show(self, console):
        console.print("fine")


def succeeds() -> Outcome:
    return Fine()


def test_an_outcome_is_shown_to_a_person_or_written_for_a_script(capsys):
    assert run(succeeds) == 0
    assert capsys.readouterr().out == "fine\n"
    assert run(succeeds, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"loss": None}


def test_a_refusal_has_its_message_and_remedy_on_standard_error_and_no_traceback(capsys):
    refusal = MemoryRefusal("It needs 9 GB.", remedy="Use --method.rank 4.")
    assert run(refuses(refusal)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: It needs 9 GB.\nUse --method.rank 4.\n"


def test_a_refusal_is_one_json_document(capsys):
    refusal = MemoryRefusal("It needs 9 GB.", remedy="Use --method.rank 4.")
    assert run(refuses(refusal), as_json=True) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "error": {
            "code": "memory",
            "message": "It needs 9 GB.",
            "remedy": "Use --method.rank 4.",
        }
    }
    assert captured.err == ""


def test_wrong_usage_ends_in_2_and_an_interrupt_in_130():
    assert run(refuses(UsageError("No."))) == 2
    assert run(refuses(KeyboardInterrupt())) == 130


def test_an_interrupt_is_a_json_document_too(capsys):
    assert run(refuses(KeyboardInterrupt("Go on by X.")), as_json=True) == 130
    fault = json.loads(capsys.readouterr().out)["error"]
    assert (fault["code"], fault["message"]) == ("interrupted", "Go on by X.")


def test_an_unexpected_error_is_short_and_its_traceback_lies_in_the_cache(home, capsys):
    assert run(refuses(ZeroDivisionError("by zero"))) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    (file,) = (home / "errors").iterdir()
    assert str(file) in message
    assert "ZeroDivisionError: by zero" in file.read_text()
    assert "test_command.py" in file.read_text()


def test_an_unexpected_error_is_told_also_where_the_cache_cannot_be_written(
    tmp_path, monkeypatch, capsys
):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TUNESMITH_HOME", str(blocked / "home"))
    assert run(refuses(ZeroDivisionError("by zero"))) == 1
    assert "ZeroDivisionError: by zero" in capsys.readouterr().err


def test_debug_shows_where_an_error_comes_from(home, capsys):
    assert run(refuses(ZeroDivisionError("by zero")), debug=True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_the_file_system_refuses_is_no_fault_of_ours(home, capsys):
    assert run(refuses(PermissionError(13, "Permission denied", "/x/y"))) == 1
    assert capsys.readouterr().err == "error: /x/y: Permission denied.\n"
    assert not home.exists()


def test_paths_tuples_and_numbers_without_value_can_be_written(tmp_path, capsys):
    write_document({"a": tmp_path, "b": (1, float("inf")), "c": {2: "가"}})
    assert json.loads(capsys.readouterr().out) == {
        "a": str(tmp_path),
        "b": [1, None],
        "c": {"2": "가"},
    }


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith", "methods"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode in (0, 1)


def leaves(group, path=()):
    """Each command of a typer group with its words."""
    for name, one in group.commands.items():
        inner = getattr(one, "commands", None)
        yield from leaves(one, (*path, name)) if inner else [((*path, name), one)]


VERBS = {
    path: one.callback
    for path, one in leaves(typer.main.get_command(app))
    if hasattr(one.callback, "verb")
}


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_a_command_that_calls_a_verb_has_its_parameters_and_defaults(path):
    function = VERBS[path]
    found = inspect.signature(operator.attrgetter(function.verb)(ts)).parameters
    for name, parameter in inspect.signature(function).parameters.items():
        if name in ("as_json", "debug"):
            continue
        default = found[name].default
        if parameter.default is not None and default is not inspect.Parameter.empty:
            given = parameter.default
            assert (str(given) if isinstance(given, Path) else given) == default, name


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_what_a_verb_must_be_given_a_command_gives(path, monkeypatch):
    function, given = VERBS[path], {}
    found = inspect.signature(operator.attrgetter(function.verb)(ts)).parameters
    needed = {n for n, each in found.items() if each.default is inspect.Parameter.empty}
    owner, _, name = function.verb.rpartition(".")
    verb = functools.wraps(operator.attrgetter(function.verb)(ts))(lambda **it: given.update(it))
    monkeypatch.setattr(operator.attrgetter(owner)(ts) if owner else ts, name, verb)
    own = inspect.signature(function).parameters
    asked = {n: p.default if p.default is not p.empty else "x" for n, p in own.items()}
    with contextlib.suppress(typer.Exit):
        function(**asked)
    assert needed <= set(given), path


def test_what_a_library_reports_of_a_full_disk_is_no_fault_of_ours(home, capsys):
    assert run(refuses(ValueError("I/O error: No space left on device (os error 28)"))) == 1
    assert capsys.readouterr().err == "error: No space left on device.\n"
    assert run(refuses(OSError(27, "File too large", "/x"))) == 1
    assert "error: /x: File too large: a limit of this shell" in capsys.readouterr().err
    assert not home.exists()
