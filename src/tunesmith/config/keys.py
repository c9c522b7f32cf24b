"""Every key of a run's config: what a user may write for it, its default, and its help."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunesmith.config.run import RunConfig
from tunesmith.config.settings import alternatives, is_optional, nested_models


@dataclass(frozen=True, slots=True)
class Key:
    """One config key: its dotted name, what it takes, its default, and for which kinds it is."""

    name: str
    type: str
    default: str
    help: str
    kinds: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """The part of the config that it is in; "" for the top."""
        return self.name.rpartition(".")[0]


def config_keys() -> dict[str, Key]:
    """Every key of a run's config by its dotted name, in the order of the models."""
    keys: dict[str, Key] = {}
    for key in _keys_of(RunConfig, prefix="", kinds=()):
        known = keys.get(key.name)
        keys[key.name] = _joined(known, key) if known else key
    return keys


def _keys_of(model: type[BaseModel], *, prefix: str, kinds: tuple[str, ...]) -> Iterable[Key]:
    for name, field in model.model_fields.items():
        inner = nested_models(field.annotation)
        for below in inner:
            of = tuple(getattr(below, "notes", ()))  # the kinds, without their other names
            yield from _keys_of(below, prefix=f"{prefix}{name}.", kinds=of)
        if not inner or is_optional(field.annotation):
            takes = "text | list" if inner else type_text(field.annotation)
            yield Key(prefix + name, takes, _default(field), field.description or "", kinds)


def _joined(a: Key, b: Key) -> Key:
    """One key that two kinds have; of `kind` itself, the first kind is the default."""
    kind = " | ".join(dict.fromkeys((a.type, b.type)))
    text = a.help if b.help in a.help else "; ".join(filter(None, (a.help, b.help)))
    return Key(a.name, kind, a.default, text, a.kinds + b.kinds)


def type_text(annotation: object) -> str:
    """What a user may write for a value of this type: `number | auto`."""
    return " | ".join(alternatives(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
