"""What style.md promises of every file, and that the command line answers at once."""

import ast
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.house_figures import MAX_LINES
from tests.source import PACKAGE, ROOT, SRC, Module, imports, modules, parsed, project_files

MAX_FUNCTION_LINES = 40
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
HELP_SECONDS = 0.4
HEAVY = {"torch", "transformers", "pyarrow", "numpy", "gguf"}
COMMAND = SRC / PACKAGE / "cli" / "main.py"

# In pieces, so that this file does not name a host either.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("pypi", "nvidia", "com"),
    )
]

needs_command = pytest.mark.skipif(not COMMAND.exists(), reason="the command is not there yet")


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body from its first statement that is no docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def long_functions(module: Module) -> list[str]:
    return [
        f"{module.where}:{node.lineno}: {node.name} has {function_lines(node)} lines"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and function_lines(node) > MAX_FUNCTION_LINES
    ]


def bases_by_class(sources: tuple[Module, ...]) -> dict[str, list[str]]:
    """Dotted name of each class -> dotted names of its bases, imports and `nn.X` resolved."""
    found = {}
    for module in sources:
        known = {target.rpartition(".")[2]: target for _, target in imports(module)}
        known |= _renamed(module.tree)
        classes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
        known |= {node.name: f"{module.name}.{node.name}" for node in classes}
        for node in classes:
            found[known[node.name]] = [_dotted(base, known) for base in node.bases]
    return found


def _renamed(tree: ast.Module) -> dict[str, str]:
    """Names given with `as`, and the first part of `import torch.nn`, which binds torch."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {a.asname: f"{node.module}.{a.name}" for a in node.names if a.asname}
    return names


def _dotted(base: ast.expr, known: dict[str, str]) -> str:
    plain = base.value if isinstance(base, ast.Subscript) else base
    first, *rest = ast.unparse(plain).split(".")
    return ".".join([known.get(first, first), *rest])


SETTINGS = "tunesmith.config.settings.Settings"


def levels_under_library(name: str, bases: dict[str, list[str]]) -> int:
    """How many of our classes, this one included, lie between it and torch or pydantic.

    The base of all settings, which only forbids unknown keys, counts as pydantic's own.
    """
    if name.split(".")[0] in ("torch", "pydantic") or name == SETTINGS:
        return 1
    above = max((levels_under_library(base, bases) for base in bases.get(name, ())), default=0)
    return above + 1 if above else 0


def deep_classes(sources: tuple[Module, ...]) -> Iterator[str]:
    """Classes with two or more classes of ours between them and torch or pydantic.

    One shared base (as the settings have, to forbid unknown keys) is the level that is allowed.
    """
    bases = bases_by_class(sources)
    return (name for name in bases if levels_under_library(name, bases) > 3)


def file_faults(module: Module) -> list[str]:
    """What is wrong with a file as a whole: its length, and a first line that says nothing."""
    faults, lines = [], len(module.text.splitlines())
    if lines > MAX_LINES:
        faults.append(f"{module.where}: {lines} lines")
    first = module.tree.body[0] if module.tree.body else None
    if not (isinstance(first, ast.Expr) and ast.get_docstring(module.tree)):
        faults.append(f"{module.where}: the first statement is no docstring")
    return faults


def test_a_file_is_short_and_says_which_question_it_answers():
    assert modules()
    faults = [fault for module in modules() for fault in file_faults(module)]
    assert not faults, "\n".join(faults)


def test_no_module_has_a_name_that_says_nothing():
    assert not [m.where for m in modules() if EMPTY_NAMES & set(m.name.split("."))]


def test_functions_are_short():
    faults = [fault for module in modules() for fault in long_functions(module)]
    assert not faults, "\n".join(faults)


def test_classes_are_at_most_one_level_under_a_library_base():
    assert not list(deep_classes(modules()))


def test_no_file_names_a_package_registry():
    faults = []
    for path in project_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        faults += [f"{path.relative_to(ROOT)}: {host}" for host in REGISTRIES if host in text]
    assert not faults, "\n".join(faults)


def source(text: str, name: str = "a") -> Module:
    return parsed(f"{PACKAGE}.{name}", SRC / PACKAGE / f"{name}.py", text)


def test_a_long_file_and_one_without_a_docstring_are_seen():
    assert file_faults(source('"""One."""\n' + "x = 1\n" * (MAX_LINES - 1))) == []
    assert len(file_faults(source('"""One."""\n' + "x = 1\n" * MAX_LINES))) == 1
    assert len(file_faults(source('"""One."""\n' + "x = 1\n" * (MAX_LINES - 1) + "x"))) == 1
    for text in ("", "x = 1\n", 'x = 1\n"""Late."""\n', '""""""\n', "3\n"):
        assert len(file_faults(source(text))) == 1


def test_a_long_function_is_seen_and_its_docstring_is_free():
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    docstring = '    """One.\n' + "\n" * 30 + '    """\n'
    assert long_functions(source(f"def f():\n{docstring}{body}")) == []
    assert len(long_functions(source(f"def f():\n{docstring}{body}    x = 1\n"))) == 1
    assert len(long_functions(source(f"class A:\n  async def f():\n{body}    x = 1\n"))) == 1


def test_a_deep_class_is_seen_across_files():
    base = source("import pydantic as p\nclass A(p.BaseModel): ...", "a")
    middle = source("from tunesmith.a import A as Z\nclass B(Z): ...", "b")
    deep = source("from tunesmith.b import B\nclass C(B): ...\nclass E(Exception): ...", "c")
    assert list(deep_classes((base, middle))) == []
    assert list(deep_classes((base, middle, deep))) == [f"{PACKAGE}.c.C"]


def test_errors_may_have_a_root_and_torch_names_are_known():
    errors = source("class A(Exception): ...\nclass B(A): ...\nclass C(B): ...")
    assert list(deep_classes((errors,))) == []
    layers = source(
        "from torch import nn\nclass A(nn.Module): ...\nclass B(A): ...\nclass C(B): ..."
    )
    assert list(deep_classes((layers,))) == [f"{PACKAGE}.a.C"]


@needs_command
@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["import", "help"])
def test_the_command_line_loads_nothing_heavy(arguments):
    run = (
        f"sys.argv = ['tunesmith', *{arguments}]\n"
        f"try:\n    runpy.run_module('{PACKAGE}.cli.main', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        if arguments
        else f"import {PACKAGE}.cli.main\n"
    )
    code = f"import runpy, sys\n{run}print('LOADED', *sorted({HEAVY} & sys.modules.keys()))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    assert output.stdout.splitlines()[-1].split() == ["LOADED"]


@needs_command
def test_help_answers_at_once():
    medians = []
    for _ in range(3):  # other work on the machine may slow any one round
        medians.append(statistics.median(_help_seconds() for _ in range(5)))
        if medians[-1] < HELP_SECONDS:
            return
    pytest.fail(f"--help took {min(medians):.2f} s at best, more than {HELP_SECONDS} s")


def _help_seconds() -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.cli.main", "--help"], capture_output=True, check=True
    )
    return time.perf_counter() - start
