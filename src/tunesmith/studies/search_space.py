"""What a search varies: for each key a range on a log scale, or choices."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tunesmith.config.keys import config_keys
from tunesmith.config.load import SHORT_FLAGS, merged, parse_value, run_config
from tunesmith.config.methods import init_path
from tunesmith.config.renamed import new_key
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.methods.targets import matches
from tunesmith.studies.variants import comma_parts, nested

RATE = "train.lr"
METHOD = "method."
# Of the rate of `auto`. The best of eight rates lies between for every method and task of
# docs/methods.md, "The rate `auto` against a grid".
LOWEST_RATE, HIGHEST_RATE = 1 / 6, 3.0
# Beside the method's own. Other keys of `train` change how long a run is, and all have one length.
TRAIN_KEYS = (
    RATE,
    "train.weight_decay",
    "train.warmup_steps",
    "train.schedule",
    "train.max_grad_norm",
    "train.retention.kl_weight",
    "train.retention.share",
)
EXAMPLE = "--over train.lr=1e-4..1e-2 --over method.rank=4,8,16"
_RANGE = re.compile(r"([^.,\s]\S*?)\.\.([^.,\s]\S*)")


@dataclass(frozen=True, slots=True)
class Range:
    """Any number from ``low`` to ``high``, on a log scale."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Choices:
    """One of these values, in an order where they have one."""

    values: tuple[object, ...]


Axis = Range | Choices
Space = Mapping[str, Axis]
Values = Mapping[str, object]  # a value for each key of a space


def read_over(words: Sequence[str]) -> dict[str, object]:
    """`KEY=LOW..HIGH` and `KEY=V,V` of each --over: a pair of numbers, or a list of values.

    Raises UsageError for another form, and for a key that is given twice.
    """
    found: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        key = new_key(SHORT_FLAGS.get(name, name))
        if not equals or not text or key in found:
            fault = "is given twice" if key in found else "names no values"
            raise UsageError(f"--over {word}: {fault}.", remedy=f"Write {EXAMPLE}.")
        ends = _RANGE.fullmatch(text)
        if ends is not None:
            found[key] = tuple(parse_value(key, end) for end in ends.groups())
        else:
            found[key] = [parse_value(key, part) for part in comma_parts(text)]
    return found


def read_space(over: Mapping[str, object], config: RunConfig) -> Space:
    """The axes that ``over`` gives: (low, high) is a range, a list choices.

    Raises ConfigError for a key that cannot be searched, and for values that it does not take.
    """
    space = {key: _axis(key, given) for key, given in over.items()}
    for key, axis in space.items():
        for value in axis.values if isinstance(axis, Choices) else (axis.low, axis.high):
            with_values(config, {key: value})
    return space


def _axis(key: str, given: object) -> Axis:
    known = [name for name in config_keys() if name.startswith(METHOD) and name != "method.kind"]
    known += TRAIN_KEYS
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        what = "cannot be searched" if key in config_keys() else "is no key of a config"
        remedy = f"Did you mean {near[0]}?" if near else f"Write {EXAMPLE}."
        raise ConfigError(f"`{key}` {what}.", remedy=remedy)
    if isinstance(given, tuple):
        return _range(key, given)
    values = list(given) if isinstance(given, list) else [given]
    unique = [value for i, value in enumerate(values) if value not in values[:i]]
    if len(unique) < 2:
        raise ConfigError(
            f"`{key}` has one value, {values[0]!r}, so there is nothing to search in it.",
            remedy=f"Give it in the config, and two values or more to a search: {EXAMPLE}.",
        )
    return Choices(tuple(tuple(v) if isinstance(v, list) else v for v in unique))


def _range(key: str, given: tuple[object, ...]) -> Range:
    numbers = [each for each in given if isinstance(each, int | float)]
    if len(numbers) != 2 or len(given) != 2 or not 0 < numbers[0] < numbers[1]:
        shown = "..".join(map(str, given))
        raise ConfigError(
            f"`{key}`: {shown} is no range: it takes two numbers above 0, the smaller one first.",
            remedy=f"Write {EXAMPLE}.",
        )
    if any(isinstance(each, int) for each in numbers) and key != RATE:
        raise ConfigError(
            f"`{key}` takes whole numbers, of which a search is given a list.",
            remedy=f"Write {EXAMPLE}.",
        )
    return Range(float(numbers[0]), float(numbers[1]))


def default_space(config: RunConfig, *, rate: float, linears: Sequence[str]) -> Space:
    """What is searched where nothing is named: the rate around that of `auto`, and what the method
    lists, without targets that this base has not.

    Of an adapter that is continued the rate alone: its folder fixes the rest.
    """
    space: dict[str, Axis] = {
        RATE: Range(two_digits(rate * LOWEST_RATE), two_digits(rate * HIGHEST_RATE))
    }
    if init_path(config.method) is not None:
        return space
    for name, values in getattr(config.method, "searched", {}).items():
        there = tuple(value for value in values if _is_there(value, linears))
        if len(there) > 1:
            space[f"{METHOD}{name}"] = Choices(there)
    return space


def _is_there(value: object, linears: Sequence[str]) -> bool:
    patterns = value if isinstance(value, tuple) else ()
    return all(any(matches(name, str(each)) for name in linears) for each in patterns)


def own_values(config: RunConfig, space: Space, *, rate: float) -> Values:
    """The config's own values, which are tried first; of an axis without it the middle."""
    found: dict[str, object] = {}
    plain = config.model_dump(mode="python", by_alias=True)
    for key, axis in space.items():
        own: object = plain
        for part in key.split("."):
            own = own.get(part) if isinstance(own, Mapping) else None
        own = rate if key == RATE and own == "auto" else own
        if isinstance(axis, Choices):
            found[key] = own if own in axis.values else axis.values[len(axis.values) // 2]
        else:
            is_within = isinstance(own, int | float) and axis.low <= own <= axis.high
            found[key] = own if is_within else two_digits((axis.low * axis.high) ** 0.5)
    return found


def with_values(config: RunConfig, values: Values) -> RunConfig:
    """The config with these values; what scales with one of them keeps its ratio to it.

    Raises ConfigError where it does not take them.
    """
    given: dict[str, object] = dict(values)
    for name, by in getattr(config.method, "scales_with", {}).items():
        key, chosen = f"{METHOD}{name}", given.get(f"{METHOD}{by}")
        if key not in given and isinstance(chosen, int | float):
            ratio = getattr(config.method, name) / getattr(config.method, by)
            given[key] = ratio * chosen
    written = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # The kind stays where it was left to its default.
    written["method"] = {"kind": config.method.kind, **written.get("method", {})}
    return run_config(merged(written, nested(given)), path=None, flags={})


def two_digits(value: float) -> float:
    """A number as people write it."""
    return float(f"{value:.1e}")


def space_json(space: Space) -> dict[str, object]:
    """The space as a file has it."""
    return {key: asdict(axis) for key, axis in space.items()}


def space_of(values: Mapping[str, Mapping[str, object]]) -> Space:
    """The space that a file has."""
    return {
        key: Choices(tuple(tuple(v) if isinstance(v, list) else v for v in each["values"]))  # type: ignore[attr-defined]
        if "values" in each
        else Range(**each)  # type: ignore[arg-type]
        for key, each in values.items()
    }
