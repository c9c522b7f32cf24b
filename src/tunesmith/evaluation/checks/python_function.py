"""python: what does a function of the user's give the answer?"""

import contextlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from tunesmith.config.checks import PythonSettings
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import CannotScore, Case, Check

ARGUMENTS = ("answer", "reference", "question")
REMEDY = "Fix `function` of the python check: `file.py:function` or `module:function`."


def python_check(settings: PythonSettings) -> Check:
    """The function's own score: true or false, or a number from 0 to 1.

    It is code that runs with this process's rights, and so is only ever named by a config, which
    its user writes or reads. Raises ConfigError where it cannot be loaded or called.
    """
    function = _load(settings.function)
    count = _argument_count(function, settings.function)

    def score(case: Case) -> float:
        try:
            found = function(*(case.answer, case.reference, case.question)[:count])
        except (Exception, SystemExit) as error:
            raise CannotScore(_reason(error, settings.function)) from error
        if not isinstance(found, int | float):
            raise CannotScore(f"{settings.function} gave {found!r}, which is not a number")
        return float(found)

    return Check(rule=score)


def _load(name: str) -> Callable[..., object]:
    where, _, attribute = name.rpartition(":")
    try:
        module = _module_of_file(Path(where)) if where.endswith(".py") else _module(where)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code does when it is imported
        raise ConfigError(
            f"{where} cannot be imported: {_reason(error, where)}.", remedy=REMEDY
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        what = "has no function" if function is None else "holds a value, no function,"
        raise ConfigError(f"{where} {what} `{attribute}`.", remedy=REMEDY)
    found: Callable[..., object] = function
    return found


def _module(name: str) -> ModuleType:
    with _importable_from(Path.cwd()):
        return importlib.import_module(name)


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"The file {path} is not there.", remedy=REMEDY)
    spec = importlib.util.spec_from_file_location(f"tunesmith_check_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _importable_from(path.absolute().parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _importable_from(folder: Path) -> Iterator[None]:
    """Let imports find modules in the folder, as they would if its file were run."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _argument_count(function: Callable[..., object], name: str) -> int:
    """How many of `answer, reference, question` the function takes; ConfigError for others."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    for count in range(len(ARGUMENTS), 0, -1):
        with contextlib.suppress(TypeError):
            signature.bind(*ARGUMENTS[:count])
            return count
    raise ConfigError(
        f"the check's function `{name}` takes {signature}.",
        remedy=f"A check's function takes {', '.join(ARGUMENTS)}, or the first of them.",
    )


def _reason(error: BaseException, name: str) -> str:
    """The error, and the innermost line that is the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__))
    theirs = [f for f in frames if f.filename != ours and "importlib" not in f.filename]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return f"{name} raised {type(error).__name__}: {error}{where}"
