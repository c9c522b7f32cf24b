"""Imports go down only: no package reaches up, sideways or in a circle."""

import graphlib

import pytest

from tests.source import PACKAGE, SRC, Module, import_graph, imports, modules, parsed

LEVELS = {
    "core": -2,
    "config": -1,
    "models": 0,
    "data": 0,
    "retrieval": 0,
    "engine": 1,
    "methods": 2,
    "adapters": 3,
    "training": 4,
    "generation": 4,
    "estimate": 4,
    "evaluation": 5,
    "runs": 6,
    "studies": 7,
    "distillation": 7,
    "conversation": 7,
    "setup": 7,
    "report": 7,
    "exports": 7,
    "api": 8,
    "cli": 9,
    "server": 9,
    "app": 9,
    "__main__": 10,
}


def part_of(dotted: str) -> str | None:
    """The package of ours that a dotted name lies in; None for the root and for others' code."""
    first, *rest = dotted.split(".")
    return rest[0] if first == PACKAGE and rest and rest[0] in LEVELS else None


def faults_of(module: Module) -> list[str]:
    own = part_of(module.name)
    faults: list[str] = []
    if module.name == PACKAGE:  # above all levels: it names what is public
        return faults
    for line, target in imports(module):
        other = part_of(target)
        if other is None or other == own:
            continue
        if own is None or LEVELS[other] >= LEVELS[own]:
            level = "the root" if own is None else f"{own} (level {LEVELS[own]})"
            faults.append(f"{module.where}:{line}: {level} imports {target} ({LEVELS[other]})")
    return faults


def test_every_part_of_the_package_has_a_level():
    parts = {path.stem for path in (SRC / PACKAGE).iterdir() if path.suffix in ("", ".py")}
    parts -= {"__init__", "__pycache__"}
    assert parts - LEVELS.keys() == set(), "give each new package its level in the table above"


def test_imports_go_down_only():
    faults = [fault for module in modules() for fault in faults_of(module)]
    assert not faults, "\n".join(faults)


def test_the_command_line_comes_in_by_the_front_door():
    allowed = {"api", "cli", "config", "core", None}
    faults = [
        f"{module.where}:{line}: {target}"
        for module in modules()
        if part_of(module.name) == "cli"
        for line, target in imports(module)
        if part_of(target) not in allowed
    ]
    assert not faults, "a command parses, calls one function of api, and prints:\n" + "\n".join(
        faults
    )


def test_no_modules_import_each_other_in_a_circle():
    try:
        graphlib.TopologicalSorter(import_graph(modules())).prepare()
    except graphlib.CycleError as error:
        pytest.fail("imports in a circle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("engine.head", "import tunesmith.methods.lora"),
        ("engine.head", "from tunesmith import methods"),
        ("engine.head", "from tunesmith.methods import lora"),
        ("engine.head", "from ..methods import lora"),
        ("engine.head", "from .. import cli"),
        ("engine.head", "def f():\n    from tunesmith.cli import main"),
        ("engine.head", "if TYPE_CHECKING:\n    from tunesmith.training import loop"),
        ("engine.head", "importlib.import_module('tunesmith.training.loop')"),
        ("models.load", "from tunesmith.data import rows"),
        ("core.errors", "from tunesmith import config"),
        ("version", "from tunesmith import config"),
    ],
)
def test_an_import_upwards_or_sideways_is_seen(name, text):
    path = SRC / PACKAGE / (name.replace(".", "/") + ".py")
    assert len(faults_of(parsed(f"{PACKAGE}.{name}", path, text))) == 1


@pytest.mark.parametrize(
    "text",
    ["from tunesmith.models import load", "from . import batch", "from tunesmith import VERSION"],
)
def test_an_import_downwards_or_within_is_allowed(text):
    path = SRC / PACKAGE / "engine" / "head.py"
    assert faults_of(parsed(f"{PACKAGE}.engine.head", path, text)) == []
