"""The base of every settings model, frozen and without unknown keys, and the keys that one has."""

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel, ConfigDict

SECRET = "secret"
"""The type of a fault whose value must not be shown."""


class Settings(BaseModel):
    """Immutable values that crossed the process edge; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def known_keys(model: type[BaseModel]) -> list[str]:
    """Every dotted key that ``model`` accepts, nested models and union members included."""
    return list(dict.fromkeys(name for name, _ in keys_with_types(model)))


def keys_with_types(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Each dotted key with its annotation; one that several members of a union have, for each."""
    for name, field in model.model_fields.items():
        nested = nested_models(field.annotation)
        for inner in nested:
            yield from keys_with_types(inner, f"{prefix}{name}.")
        if not nested or is_optional(field.annotation):
            yield prefix + name, field.annotation


def is_optional(annotation: object) -> bool:
    """Whether None may stand there: nested keys that a word can turn off."""
    return type(None) in get_args(annotation)


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
