"""From a YAML file and dotted flags to a checked RunConfig."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tunesmith.config.run import RunConfig
from tunesmith.config.settings import validate
from tunesmith.errors import ConfigError, UsageError

SHORT_FLAGS = {"data": "data.train", "method": "method.kind"}


def parse_overrides(arguments: Sequence[str]) -> dict[str, object]:
    """`--method.rank 8 --train.lr=1e-3` -> nested mapping; values are read as YAML scalars.

    Raises UsageError for a word that is no flag, or a flag without a value.
    """
    nested: dict[str, object] = {}
    words = list(arguments)
    while words:
        flag = words.pop(0)
        if not flag.startswith("--"):
            raise UsageError(f"`{flag}` is neither a flag nor a value that a flag waits for.")
        name, equals, value = flag[2:].partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise UsageError(f"--{name} needs a value.", remedy=f"Write --{name} VALUE.")
            value = words.pop(0)
        _put_(nested, SHORT_FLAGS.get(name, name).split("."), _scalar(value), flag=name)
    return nested


def _scalar(text: str) -> object:
    """A value as YAML reads it, but `1e-3` is the number that everyone means."""
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text


def _put_(nested: dict[str, object], path: Sequence[str], value: object, *, flag: str) -> None:
    for part in path[:-1]:
        inner = nested.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--{flag} goes into `{part}`, which was given a single value.")
        nested = inner
    last = path[-1]
    if "=" in str(value) and last == "map":
        key, _, column = str(value).partition("=")
        value = {key: column}
    nested[last] = value


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """``base`` with the values of ``over`` in front, mappings merged key by key."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def read_yaml(path: Path) -> dict[str, object]:
    """The mapping in a YAML file; raises ConfigError that names the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}.", remedy="`tunesmith init DATA` writes one."
        ) from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", error)
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no keys.", remedy="`tunesmith init DATA` writes one.")
    return values


def load_run_config(path: Path | None, overrides: Mapping[str, object]) -> RunConfig:
    """The checked config of a file with flags in front; raises ConfigError with every fault.

    Relative paths in it are the caller's: they are taken from the working directory.
    """
    values = read_yaml(path) if path is not None else {}
    if isinstance(values.get("method"), str):
        values["method"] = {"kind": values["method"]}
    values = merged(values, overrides)
    method = values.setdefault("method", {})
    if isinstance(method, dict):
        method.setdefault("kind", "lora")
    if "data" not in values:
        raise ConfigError(
            "No training data is named.", remedy="Give --data FILE, or `data: {train: FILE}`."
        )
    return validate(RunConfig, values, source=str(path) if path else "command line")
