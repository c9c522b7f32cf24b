"""What `import tunesmith` offers, and that it costs nothing until it is used."""

import inspect
import subprocess
import sys
import typing

import pytest

import tunesmith as ts

HEAVY = ("torch", "numpy", "pydantic", "transformers", "rich", "yaml")


def test_importing_loads_nothing_heavy_in_a_moment():
    code = (
        "import sys, time\nstart = time.perf_counter()\nimport tunesmith\n"
        "spent = time.perf_counter() - start\n"
        f"print(spent, *sorted(set({HEAVY}) & sys.modules.keys()))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, *loaded = min(run.stdout.split() for run in runs)
    assert loaded == []
    assert float(seconds) < 0.3


def test_every_public_name_stays_a_function_or_class_whatever_is_imported():
    code = (
        "import importlib, inspect, pkgutil\nimport tunesmith as ts\n"
        "for module in pkgutil.walk_packages(ts.__path__, 'tunesmith.'):\n"
        "    if not module.name.endswith('__main__') and 'worker' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        "wrong = [n for n in ts.__all__\n"
        "         if not (inspect.isclass(getattr(ts, n)) or inspect.isfunction(getattr(ts, n)))]\n"
        "print('WRONG', *wrong)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "WRONG"


def test_the_names_are_listed_and_no_other_is_there():
    assert set(ts.__all__) == set(ts._WHERE)
    assert set(ts.__all__) <= set(dir(ts))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ts.trian


@pytest.mark.parametrize("name", ts.__all__)
def test_every_public_name_is_documented_and_typed(name):
    value = getattr(ts, name)
    assert value.__doc__
    if inspect.isfunction(value):
        hints = typing.get_type_hints.__name__  # names under TYPE_CHECKING cannot be read
        assert hints
        assert "return" in value.__annotations__
        parameters = inspect.signature(value).parameters.values()
        assert all(p.annotation is not inspect.Parameter.empty for p in parameters)


def test_the_spin_count_is_set_before_torch_unless_the_user_has_set_it():
    code = (
        "import os{first}, tunesmith as ts; print(os.environ[ts.SPIN_COUNT], ts.torch_came_first)"
    )

    def said(first="", **environment):
        done = subprocess.run(
            [sys.executable, "-c", code.format(first=first)],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "", "PYTHONPATH": ":".join(sys.path), **environment},
        )
        return done.stdout.split()

    assert said() == ["3000", "False"]
    assert said(GOMP_SPINCOUNT="7") == ["7", "False"]
    assert said(", torch") == ["3000", "True"]
