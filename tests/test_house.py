"""The source tree stays as orderly as it is: each figure may fall, and none may rise.

That no file has more than 350 lines is in test_style.py, that there are no cycles in
test_layers.py. `python -m tests.house` prints these figures and more, with the places.
"""

import json
import subprocess
import sys

import pytest

from tests import house_figures as figures
from tests.source import PACKAGE, ROOT, SRC, modules, parsed

# What is allowed. Whoever lowers a figure lowers its limit.
LIMITS = {
    "short modules, per module": 0.04,
    "class names defined more than once": 2,  # Evaluation, Plan: results of the api, and below
    "files that name kinds of methods": 2,  # two exporters
}


def tree_figures():
    return {
        "short modules, per module": figures.share_of_short(modules()),
        "class names defined more than once": len(figures.repeated_classes(modules())),
        "files that name kinds of methods": len(figures.kinds_named(modules())),
    }


@pytest.mark.parametrize("name", LIMITS)
def test_no_figure_rises(name):
    assert tree_figures()[name] <= LIMITS[name], "`python -m tests.house --verbose --static`"


def source(text, name="a"):
    return parsed(f"{PACKAGE}.{name}", SRC / PACKAGE / f"{name.replace('.', '/')}.py", text)


def test_short_modules_are_seen_and_bare_ones_stand_aside():
    long = source('"""One."""\n' + "x = 1\n" * 49, "long")
    short = source('"""One."""\n' + "x = 1\n" * 48, "short")
    bare = parsed(f"{PACKAGE}.b", SRC / PACKAGE / "b" / "__init__.py", '"""One."""\n')
    filled = parsed(f"{PACKAGE}.c", SRC / PACKAGE / "c" / "__init__.py", '"""One."""\nx = 1\n')
    root = parsed(PACKAGE, SRC / PACKAGE / "__init__.py", '"""One."""\nx = 1\n')
    tree = [long, short, bare, filled, root]
    assert figures.short_modules(tree) == [short, filled]
    assert figures.share_of_short(tree) == 2 / 3


def test_repeated_classes_are_seen_nested_or_not():
    one = source("class A:\n    class B(Protocol): ...\nclass C: ...", "one")
    two = source("def f():\n    class B: ...\nclass D: ...", "two")
    places = {"B": ["src/tunesmith/one.py:2", "src/tunesmith/two.py:2"]}
    assert figures.repeated_classes([one, two]) == places


def test_importers_and_cycles_are_seen():
    a = source("from tunesmith import b", "a")
    b = source("def f():\n    from tunesmith.c import x", "b")
    c = source("import tunesmith.a\nimport tunesmith.d", "c")
    d = source("import tunesmith.e", "d")
    e = source("from tunesmith.e import itself", "e")
    assert figures.cycles([a, b, c, d, e]) == [[f"{PACKAGE}.{name}" for name in "abc"]]
    assert figures.with_one_importer([d, e]) == {f"{PACKAGE}.e": [f"{PACKAGE}.d"]}


SETTINGS = source(
    'class LoraSettings:\n    kind: Literal["lora", "qlora"] = "lora"\n'
    'class FullSettings:\n    kind: Literal["full"] = "full"\n'
    'class PromptSettings:\n    kind: Literal["prompt"] = "prompt"\n'
    'FOUR_BIT: frozenset[str] = frozenset({"qlora"})\nHELP = "rate"\n',
    "config.methods",
)


@pytest.mark.parametrize(
    "text",
    [
        'x = "lora"',
        'x: Literal["qlora"] = y',
        'x = a.kind == "full"',
        'x = method in ("prompt", "other")',
        'x = {"kind": "full"}',
        'f(kind="prompt")',
        'match a.kind:\n    case "full": ...',
        'x = {"full": 1, "prompt": 2}',
        'x = ["full", "prompt"]',
        "from tunesmith.config import LoraSettings",
        "from tunesmith.config.methods import FullSettings as F",
        "from tunesmith.config.methods import FOUR_BIT",
        "from tunesmith.methods import lora",
        "from tunesmith.methods.lora_peft import write",
        "from tunesmith import config\nisinstance(x, config.PromptSettings)",
    ],
)
def test_a_kind_that_is_named_is_seen(text):
    assert list(figures.kinds_named([SETTINGS, source(text, "training.loop")])) == [
        "src/tunesmith/training/loop.py"
    ]
    for home in ("methods.table", "config.run"):
        assert figures.kinds_named([SETTINGS, source(text, home)]) == {}


@pytest.mark.parametrize(
    "text",
    [
        '"lora"',
        'def f():\n    """lora"""',
        'x = row["prompt"]',
        'x = strength == "full"',
        'x = {"prompt": 1, "text": 2}',
        'x = ("full",)',
        'x = "LoRA with a lora term"',
        "from tunesmith.config.methods import AnyMethod, HELP",
        "from tunesmith.data.full import FOUR_BIT",
        "from tunesmith.methods import table",
    ],
)
def test_what_only_looks_like_a_kind_is_not_counted(text):
    assert figures.kinds_named([SETTINGS, source(text, "training.loop")]) == {}


def test_exporters_may_name_the_kind_whose_format_they_write():
    named = figures.kinds_named([SETTINGS, source('x = "lora"', "exports.gguf")])
    assert list(named) == ["src/tunesmith/exports/gguf.py"]
    assert figures.outside_exporters(named) == {}


def test_what_lora_leads_to_ends_at_the_engine():
    lora = source("import tunesmith.engine.seam, tunesmith.engine.whole, tunesmith.data.rows")
    tree = [
        parsed(figures.LORA, lora.path, lora.text),
        source("import tunesmith.engine.term", "engine.seam"),
        source("x = 1", "engine.term"),
        source("import tunesmith.engine.head\nclass Engine: ...", "engine.whole"),
        source("x = 1", "engine.head"),
        source("x = 1", "data.rows"),
    ]
    names = [module.name.removeprefix(f"{PACKAGE}.") for module in figures.lora_files(tree)]
    assert names == ["engine.seam", "engine.term", "methods.lora"]


@pytest.mark.slow
def test_the_report_prints_the_figures_of_a_run():
    command = [sys.executable, "-m", "tests.house", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["modules"]["value"] == len(modules())
    for key in ("row", "answer", "lora_ran"):
        names = found[key]["places"]
        assert found[key]["value"] == len(names) > 3
        assert not any(part in name for name in names for part in (".cli.", ".config."))
    assert set(found["row"]["places"]) <= set(found["row_to_step"]["places"])
