"""The base of every settings model: frozen, unknown keys refused, faults told in a user's words."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from tunesmith.errors import ConfigError


class Settings(BaseModel):
    """Immutable values that crossed the process edge; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


S = TypeVar("S", bound=Settings)


def validate(model: type[S], values: Mapping[str, object], *, source: str) -> S:
    """Build ``model`` from ``values``; raises ConfigError with one line per fault, all of them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [_fault(model, values, fault) for fault in error.errors(include_url=False)]
        raise ConfigError(
            "\n".join(f"{source}: {fault}" for fault in faults),
            remedy="`tunesmith train --help` lists every key.",
        ) from None


def _fault(model: type[Settings], values: Mapping[str, object], fault: Mapping[str, object]) -> str:
    names = _user_path(values, fault)
    key = ".".join(names)
    if fault["type"] == "extra_forbidden":
        return f"unknown key `{key}`; {_hint(model, values, names)}"
    context = fault.get("ctx")
    if fault["type"] == "union_tag_invalid" and isinstance(context, dict):
        return f"`{key}.kind`: unknown kind {context['tag']!r}; known: {context['expected_tags']}"
    if fault["type"] == "union_tag_not_found":
        return f"`{key}.kind`: is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    given = fault.get("input")
    shown = "" if isinstance(given, dict) else f" (given: {given!r})"
    return f"`{key}`: {message}{shown}" if key else message


def _user_path(values: Mapping[str, object], fault: Mapping[str, object]) -> list[str]:
    """The keys that a user wrote; pydantic's path also names the chosen member of a union."""
    path = fault["loc"]
    assert isinstance(path, tuple)
    names: list[str] = []
    here: object = values
    tag_is_due = True
    for position, part in enumerate(path):
        if tag_is_due and isinstance(here, Mapping) and part == here.get("kind"):
            tag_is_due = False
            continue
        inner = _inside(here, part)
        is_missing_key = fault["type"] == "missing" and position == len(path) - 1
        if inner is not None or is_missing_key or (isinstance(here, Mapping) and part in here):
            names.append(str(part))
            here, tag_is_due = inner, True
    return names


def _inside(values: object, part: object) -> object:
    """What lies under a key or an index; None where there is nothing."""
    if isinstance(values, Mapping):
        return values.get(part)
    if isinstance(values, list | tuple) and isinstance(part, int):
        return values[part] if part < len(values) else None
    return None


def _hint(model: type[BaseModel], values: Mapping[str, object], names: Sequence[str]) -> str:
    """The known key that an unknown one was meant to be: of the same place, else of any."""
    *parents, last = names
    beside = _keys_of(model, values, parents)
    near = difflib.get_close_matches(last, beside, n=1, cutoff=0.5)
    if near:
        return f"did you mean `{'.'.join([*parents, near[0]])}`?"
    elsewhere = {key.rpartition(".")[2]: key for key in known_keys(model)}
    near = difflib.get_close_matches(last, elsewhere, n=1)
    if near:
        return f"did you mean `{elsewhere[near[0]]}`?"
    return f"known here: {', '.join(beside)}"


def _keys_of(
    model: type[BaseModel], values: Mapping[str, object], parents: Sequence[str]
) -> list[str]:
    """The keys that may stand under ``parents``, items of lists and chosen kinds followed."""
    models: list[type[BaseModel]] = [model]
    here: object = values
    for name in parents:
        if isinstance(here, list | tuple):
            here = _inside(here, int(name))
        else:
            here = _inside(here, name)
            fields = [f for m in models for n, f in m.model_fields.items() if name in (n, f.alias)]
            models = [inner for f in fields for inner in nested_models(f.annotation, lists=True)]
        if isinstance(here, Mapping) and "kind" in here:
            kind = here["kind"]
            models = [m for m in models if kind in get_args(m.model_fields["kind"].annotation)]
    return [field.alias or name for m in models for name, field in m.model_fields.items()]


def known_keys(model: type[BaseModel]) -> list[str]:
    """Every dotted key that ``model`` accepts, nested models and union members included."""
    return list(dict.fromkeys(name for name, _ in keys_with_types(model)))


def keys_with_types(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Each dotted key with its annotation; one that several members of a union have, for each."""
    for name, field in model.model_fields.items():
        nested = nested_models(field.annotation)
        for inner in nested:
            yield from keys_with_types(inner, f"{prefix}{name}.")
        if not nested:
            yield prefix + name, field.annotation


def nested_models(annotation: object, *, lists: bool = False) -> list[type[BaseModel]]:
    """The models in an annotation: itself, members of a union and, with ``lists``, their items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = getattr(annotation, "__origin__", None)
    if origin in (list, tuple, dict) and not lists:
        return []
    found: list[type[BaseModel]] = []
    for argument in getattr(annotation, "__args__", ()):
        found += nested_models(argument, lists=lists)
    return found
