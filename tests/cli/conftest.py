"""Commands run in this process, and stand-ins for what they call."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest

from tests.plots import plots_are_not_rendered  # noqa: F401  # for every test here
from tunesmith.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)


@pytest.fixture
def tunesmith(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs one command line."""

    def run(*words: object) -> Ended:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture
def replace_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a module made of these values in the place of a heavy one."""

    def replace(name: str, **values: object) -> None:
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)

    return replace
