"""From a YAML file and dotted flags to a checked RunConfig."""

import contextlib
import functools
import re
import shlex
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from tunesmith.config.faults import COMMAND_LINE, validate
from tunesmith.config.renamed import new_key, with_new_names
from tunesmith.config.run import RunConfig
from tunesmith.config.settings import keys_with_types
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.core.phrases import nearest

PAIRS = re.compile(r",(?=[^,=]+=)")  # a comma before another a=b
SETTINGS = "settings"  # where values come from that Python gives
SHORT_FLAGS = {"data": "data.train", "method": "method.kind", "system": "data.system"}


class Flags(dict[str, object]):
    """Values that a command line gave, nested; messages about them name the flags."""


def parse_overrides(arguments: Sequence[str]) -> dict[str, object]:
    """`--method.rank 8 --train.lr=1e-3` -> nested mapping, each value as its key takes it.

    Where a key takes text, what it could not take otherwise is text. Lists and mappings are written
    [a, b] and {a: b}; a mapping also in pairs, a=b or a=b,c=d. A switch alone is true. Raises
    UsageError for a word that is no flag, a flag without a value, or a name that a mapping is given
    twice.
    """
    nested: dict[str, object] = {}
    words = list(arguments)
    while words:
        flag = words.pop(0)
        if not flag.startswith("--"):
            raise UsageError(f"`{flag}` is neither a flag nor the value of a flag.")
        name, equals, text = flag[2:].partition("=")
        key = new_key(SHORT_FLAGS.get(name, name))
        taken = _types_of_keys().get(key, frozenset())
        if not equals:
            is_last = not words or words[0].startswith("--")
            if is_last and taken != {bool}:
                raise UsageError(f"--{name} needs a value.", remedy=f"Write --{name} VALUE.")
            text = "true" if is_last else words.pop(0)
        _put_(nested, key.split("."), _value(text, taken), flag=name)
    return nested


def parse_value(key: str, text: str) -> object:
    """A word as the config key takes it."""
    return _value(text, _types_of_keys().get(key, frozenset()))


@functools.cache
def _types_of_keys() -> dict[str, frozenset[object]]:
    """What each key of a run's config takes, as the types that YAML gives."""
    taken: dict[str, frozenset[object]] = {}
    for name, annotation in keys_with_types(RunConfig):
        taken[name] = taken.get(name, frozenset()) | _types_in(annotation)
    return taken


def _types_in(annotation: object) -> frozenset[object]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return frozenset().union(*map(_types_in, arguments))
    if origin is Annotated:
        return _types_in(arguments[0])
    if origin is Literal:
        return frozenset(map(type, arguments))
    if origin is tuple:
        return frozenset({list, list[str]} if arguments[0] is str else {list})
    return frozenset({float, int} if annotation is float else {origin or annotation})


def _value(text: str, taken: frozenset[object]) -> object:
    value = _read(text)
    if value is text and text[:1] in ("[", "{") and taken and str not in taken:
        raise UsageError(
            f"`{text}` is not valid YAML: {_problem(text)}.",
            remedy="Put texts in single quotes: in double ones a backslash begins an escape.",
        )
    if dict in taken and "=" in text and not isinstance(value, dict):
        pairs = [part.partition("=") for part in PAIRS.split(text)]
        names = [name for name, _, _ in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UsageError(f"`{text}` gives {', '.join(sorted(twice))} twice.")
        return {name: inner for name, _, inner in pairs}
    if list[str] in taken and not {str, dict} & taken and value is text:
        return [part.strip() for part in text.split(",")]
    return text if str in taken and type(value) not in taken else value


def _read(text: str) -> object:
    """A word as YAML reads it, blocks aside; but `1e-3` is the number that everyone means."""
    if text == "null":
        return None
    with contextlib.suppress(ValueError):
        if "e" in text.lower():
            return float(text)
    try:
        value = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text
    is_flow = text[:1] + text[-1:] in ("[]", "{}")
    return value if isinstance(value, list | dict if is_flow else int | float) else text


def _problem(text: str) -> str:
    try:
        yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        return str(getattr(error, "problem", None) or error)
    return "it is incomplete"


def _put_(nested: dict[str, object], path: Sequence[str], value: object, *, flag: str) -> None:
    for part in path[:-1]:
        inner = nested.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--{flag} goes into `{part}`, which was given a single value.")
        nested = inner
    before = nested.get(path[-1])
    if isinstance(before, dict) and isinstance(value, dict):
        if twice := before.keys() & value.keys():
            raise UsageError(f"--{flag} is given {', '.join(sorted(twice))} twice.")
        value = before | value
    nested[path[-1]] = value


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """``base``, overridden by the values of ``over``; mappings are merged key by key."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def read_yaml(path: Path, *, warn: bool = True) -> dict[str, object]:
    """The config in a YAML file, keys under their present names; ConfigError that names the line.

    With ``warn`` an OldNameWarning for each old name.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, not a config file.", remedy=_way_on(path))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = nearest(path.name, [each.name for each in path.parent.glob("*.y*ml")])
        meant = f"Did you mean {path.parent / near}? " if near else ""
        remedy = f"{meant}`tunesmith init DATA` writes one."
        raise ConfigError(f"{path}: does not exist.", remedy=remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path}: cannot be read: {reason}.", remedy="`tunesmith init DATA` writes one."
        ) from None
    try:
        values = yaml.load(text, _OnceEach)  # a SafeLoader
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no keys.", remedy="`tunesmith init DATA` writes one.")
    return with_new_names(values, warn=warn)


class _OnceEach(yaml.SafeLoader):
    """Reads YAML whose keys are each given once: of two that are the same, one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; raises ConstructorError for a key that is there already."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name = key.value
            if name in first:
                problem = f"`{name}` is given twice, in line {first[name]} too"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            first[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


def _not_yaml(path: Path, error: yaml.YAMLError) -> ConfigError:
    """What is wrong with a file that is no YAML, and at which line."""
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    problem = str(getattr(error, "problem", error))
    if mark and "'\\t'" in problem:
        return ConfigError(
            f"{path}{line}: a tab in column {mark.column + 1}, where YAML takes spaces only.",
            remedy="Use spaces instead of tabs, two for each level.",
        )
    return ConfigError(f"{path}{line}: not valid YAML: {problem}.")


def _way_on(folder: Path) -> str:
    """What a user may mean who names a folder in place of a config."""
    name = shlex.quote(str(folder))
    if (folder / "comparison.json").is_file():
        return f"To resume the comparison in it: tunesmith compare --resume {name}"
    if (folder / "config.yaml").is_file():
        return (
            f"To resume the run in it: tunesmith train --resume {name}. To train it again: "
            f"tunesmith train {shlex.quote(str(folder / 'config.yaml'))} --out NEW_FOLDER"
        )
    return "Name a YAML file; `tunesmith init DATA` writes one."


def load_run_config(
    path: Path | None, overrides: Mapping[str, object], *, warn: bool = True
) -> RunConfig:
    """The checked config of a file, overridden by flags; raises ConfigError with every fault.

    Relative paths in it are the caller's: they are taken from the working directory. With ``warn``
    an OldNameWarning for each old name in the file.
    """
    written = read_yaml(path, warn=warn) if path is not None else {}
    values = merged(with_kind(written), with_new_names(overrides))
    return run_config(values, path=path, flags=overrides)


def run_config(
    values: Mapping[str, object], *, path: Path | None, flags: Mapping[str, object]
) -> RunConfig:
    """The checked config of values that are in a file, or that ``flags`` gave.

    Raises ConfigError with every fault.
    """
    values = with_kind(with_new_names(values))
    if "data" not in values:
        raise ConfigError(
            "No training data is named.", remedy="Give --data FILE, or `data: {train: FILE}`."
        )
    source = str(path) if path else COMMAND_LINE
    return validate(RunConfig, values, source=source, flags=flags)


def with_kind(values: Mapping[str, object]) -> dict[str, object]:
    """`method: lora` means its kind, and a method without kind is lora."""
    method = values.get("method", {})
    method = {"kind": method} if isinstance(method, str) else method
    method = {"kind": "lora", **method} if isinstance(method, Mapping) else method
    return {**values, "method": method}
