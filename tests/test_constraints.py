"""constraints.txt pins what pyproject.toml asks for, to versions that it allows."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.source import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
ASKED = [Requirement(text) for text in (*PROJECT["dependencies"], *(t for e in EXTRAS for t in e))]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = {
    canonicalize_name(pin.name): pin
    for pin in (Requirement(line) for line in LINES if not line.startswith("#"))
}


@pytest.mark.parametrize(
    "asked", [one for one in ASKED if one.name != PROJECT["name"]], ids=lambda one: one.name
)
def test_each_dependency_is_pinned_to_a_version_that_the_project_allows(asked):
    (pinned, *_) = PINS[canonicalize_name(asked.name)].specifier
    assert Version(pinned.version) in asked.specifier


def test_every_pin_but_torch_is_one_exact_public_version():
    loose = [str(pin) for pin in PINS.values() if [s.operator for s in pin.specifier] != ["=="]]
    assert [Requirement(pin).name for pin in loose] == ["torch"]
    assert not [line for line in LINES if "+" in line.partition("#")[0]]
