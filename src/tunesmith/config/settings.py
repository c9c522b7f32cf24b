"""The base of every settings model, the keys that one has, and what a user may write for each."""

import difflib
import json
import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from tunesmith.config.peer_names import ours
from tunesmith.core.errors import ConfigError
from tunesmith.core.remote import is_remote

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # pydantic gives it no public name

SECRET = "secret"
"""The type of a fault whose value must not be shown."""

_WHY = {  # by pydantic's type of error: its own words are those of a programmer
    "missing": "is missing",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "too_short": "must hold {min_length} or more (holds {actual_length})",
}
_TYPES_ASKED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "keys with values",
    "mapping": "keys with values",
    "model": "keys with values",
}


def read_template_options(options: object) -> object:
    """A chat template's variables, `false` and `5` of a command line as what they mean."""
    if not isinstance(options, dict):
        return options
    if odd := [name for name in options if not str(name).isidentifier()]:
        raise ValueError(f"`{odd[0]}` is no name of a variable")
    return {name: _read(value) for name, value in options.items()}


# Python's spelling and YAML's, as model cards and configs have them.
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _read(value: object) -> object:
    if isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


TemplateValue = bool | int | float | str
TemplateOptions = Annotated[dict[str, TemplateValue], BeforeValidator(read_template_options)]
"""Variables of a chat template, such as `enable_thinking`, with their values."""


Tracker = Literal["tensorboard", "mlflow", "wandb", "trackio"]  # modules of runs.trackers


def _storage_url(value: str) -> str:
    if not is_remote(value):
        raise ValueError("must be a URL of object storage, such as s3://bucket/runs/intents")
    return value.rstrip("/")


StorageUrl = Annotated[str, AfterValidator(_storage_url)]
"""A place in object storage, without a slash at its end."""


DropName = Literal[
    "duplicates",
    "near_duplicates",
    "contradictions",
    "leakage",
    "personal_data",
    "languages",
    "long_tail",
    "too_long",
    "empty",
]
DROP_NAMES: tuple[DropName, ...] = get_args(DropName)
TOO_LONG: DropName = "too_long"
EMPTY: DropName = "empty"  # a question or answer without text: found row by row, as it is read


def read_names(value: object) -> object:
    """`a,b` as a list of names, each once; raises ValueError for one that is not known."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    read = [name.strip() if isinstance(name, str) else str(name) for name in names]
    unknown = [name for name in read if name not in DROP_NAMES]
    if unknown:
        raise ValueError("; ".join(map(_unknown, unknown)))
    return tuple(dict.fromkeys(read))


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, DROP_NAMES, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(DROP_NAMES)}"
    return f"no rows can be dropped by the name `{name}`; {hint}"


class TogetherError(ValueError):
    """Values that do not go together; ``keys`` names those of the section that are at fault."""

    def __init__(self, message: str, *keys: str) -> None:
        super().__init__(message)
        self.keys = keys


def reason(fault: Mapping[str, Any]) -> str:
    """Why a value was refused, in a user's words; ``fault`` is one of pydantic's errors."""
    kind, context = str(fault["type"]), dict(fault.get("ctx") or {})
    if kind in _WHY:
        if kind == "literal_error":
            context["expected"] = str(context["expected"]).replace("'", "")
        return _WHY[kind].format(**context)
    asked, _, rest = kind.partition("_")
    if asked in _TYPES_ASKED and rest in ("type", "parsing", "from_float", "attributes_type"):
        return f"must be {_TYPES_ASKED[asked]}"
    return str(fault["msg"]).removeprefix("Value error, ")


class _Refusing(ModelMetaclass):
    """Settings that a program makes are refused as those of a file are: by ConfigError.

    ``model_validate`` still raises pydantic's error, of which `faults.validate` makes more.
    """

    def __call__(cls, *args: Any, **values: Any) -> Any:
        if args:
            names = list(cast(type[BaseModel], cls).model_fields)
            raise ConfigError(
                f"{cls.__name__} takes its settings by name, not {args[0]!r} alone.",
                remedy=f"Its settings are {', '.join(names)}.",
            )
        try:
            return super().__call__(**values)
        except ValidationError as error:
            model = cast(type[BaseModel], cls)
            faults = [_refusal(model, fault) for fault in error.errors()]
            raise ConfigError("\n".join(faults)) from None


def _refusal(model: type[BaseModel], fault: Mapping[str, Any]) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        if (peer := ours(key)) is not None:
            own = peer.rpartition(".")[2]
            here = f"`{own}`" if own in model.model_fields else f"the key `{peer}`"
            return f"{model.__name__}: unknown key `{key}`; here it is {here}"
        names = [field.alias or name for name, field in model.model_fields.items()]
        near = difflib.get_close_matches(key, names, n=1)
        known = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(names)}"
        return f"{model.__name__}: unknown key `{key}`; {known}"
    why = reason(fault)
    is_hidden = fault["type"] in (SECRET, "missing") or not key
    given = "" if is_hidden else f" (given: {fault['input']!r})"
    return f"{model.__name__}: {f'`{key}`: ' if key else ''}{why}{given}"


class Settings(BaseModel, metaclass=_Refusing):
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
    """Whether None is allowed: nested keys that a word can turn off."""
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


MAPPING = "name=value"
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_IN_A_SENTENCE = {
    "whole number": "a whole number",
    "number": "a number",
    "list": "a list",
    "value": "a value",
    MAPPING: "a mapping",
}


def alternatives(annotation: object) -> tuple[str, ...]:
    """Each kind of value that is allowed: `number` and `auto`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return alternatives(arguments[0])
    if origin is Literal:
        return tuple(map(str, arguments))
    if origin in (Union, types.UnionType):
        members = [each for each in arguments if each is not types.NoneType]
        return tuple(dict.fromkeys(one for member in members for one in alternatives(member)))
    if origin is dict:
        return (MAPPING,)
    if origin in (list, tuple):
        return ("list",)
    return (_TYPES.get(annotation, "value") if isinstance(annotation, type) else "value",)


def sentence(annotation: object) -> str:
    """The same as part of a sentence: `a number or auto`."""
    words = [word for one in alternatives(annotation) for word in one.split(" or ")]
    *limit, last = (_IN_A_SENTENCE.get(word, word) for word in words)
    return f"{', '.join(limit)} or {last}" if limit else last
