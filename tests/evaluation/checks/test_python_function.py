"""python: a function of the user's, loaded once, its faults told with its own line."""

import pytest

from tunesmith.config.checks import PythonSettings
from tunesmith.config.faults import validate
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import CannotScore, Case, score_cases
from tunesmith.evaluation.checks.python_function import python_check


@pytest.fixture
def write(tmp_path):
    def make(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return make


def check(path, name="f"):
    return python_check(PythonSettings(function=f"{path}:{name}"))


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("def f(answer): return answer == 'a'", 1),
        ("def f(answer, reference): return reference == 'r'", 1),
        ("def f(answer, reference, question): return question == 'q'", 1),
        ("def f(answer, *more): return more == ('r', 'q')", 1),
        ("def f(answer, threshold='r'): return threshold == 'r'", 1),
        ("f = lambda a: 0.25", 0.25),
        ("class F:\n  def __call__(self, answer): return 1\nf = F()", 1),
        ("import numpy\ndef f(answer): return float(numpy.float32(1))", 1),
    ],
)
def test_the_function_gets_what_it_takes(write, text, score):
    assert check(write(text)).score("a", "r", "q") == score


def test_a_file_may_import_the_one_beside_it(write):
    write("WORD = 'a'", "beside_it_for_a_check.py")
    path = write("from beside_it_for_a_check import WORD\ndef f(answer): return answer == WORD")
    assert check(path).score("a") == 1


def test_a_module_is_found_where_the_command_runs(write, tmp_path, monkeypatch):
    write("def f(answer): return True", "module_for_a_check.py")
    monkeypatch.chdir(tmp_path)
    assert check("module_for_a_check").score("x") == 1
    assert python_check(PythonSettings(function="os.path:isabs")).score("/a") == 1


def test_an_error_is_kept_for_its_row_with_the_users_line(write):
    path = write(
        "def g(x):\n    return 1 / x\n\ndef f(answer):\n    return 1 / g(len(answer) - 1)\n"
    )
    scored = score_cases(check(path), [Case("ab"), Case("a"), Case("abc")])
    assert scored.scores[0] == 1
    assert scored.scores[1] is None
    assert f"raised ZeroDivisionError: division by zero ({path}:2)" in scored.errors[2]


@pytest.mark.parametrize(
    "body",
    ["raise SystemExit(3)", "return None", "return 'yes'", "return 2", "return float('nan')"],
)
def test_what_is_no_score_is_an_error_of_its_row(write, body):
    scored = score_cases(check(write(f"def f(answer): {body}")), [Case("a")])
    assert scored.scores == (None,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(", r"mine\.py cannot be imported: .*SyntaxError"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemExit(1)", "SystemExit"),
        ("x = 1 / 0", r"ZeroDivisionError: division by zero \(.*mine\.py:1\)"),
        ("def g(answer): return 1", "has no function `f`"),
        ("f = 3", "holds a value, no function, `f`"),
        ("def f(): return 1", r"takes \(\)"),
        ("def f(a, b, c, d): return 1", r"takes \(a, b, c, d\)"),
        ("def f(answer, *, limit): return 1", r"takes \(answer, \*, limit\)"),
    ],
)
def test_a_function_that_cannot_be_used_is_a_config_error(write, text, message):
    with pytest.raises(ConfigError, match=message):
        check(write(text))


def test_a_missing_file_or_module_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.py is not there"):
        check(tmp_path / "nowhere.py")
    with pytest.raises(ConfigError, match="no_module_of_this_name cannot be imported"):
        check("no_module_of_this_name")


@pytest.mark.parametrize("value", ["mine.py", ":f", "mine.py:", "mine.py:a b"])
def test_another_form_is_refused(value):
    with pytest.raises(ConfigError, match=r"`function`: write `file\.py:function`"):
        validate(PythonSettings, {"function": value}, source="a.yaml")


def test_a_row_error_is_no_zero(write):
    with pytest.raises(CannotScore):
        check(write("def f(answer): raise ValueError('no')")).score("a")
