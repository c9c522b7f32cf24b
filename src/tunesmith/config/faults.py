"""What is wrong with the values of a config, in a user's words: where, which key, and why."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tunesmith.config.peer_names import ours
from tunesmith.config.settings import (
    SECRET,
    Settings,
    TogetherError,
    known_keys,
    nested_models,
    reason,
    sentence,
)
from tunesmith.core.errors import ConfigError

COMMAND_LINE = "command line"
_Fault = Mapping[str, object]  # as pydantic reports it
_Names = tuple[str, ...]  # of keys, outer first, as a user wrote them
S = TypeVar("S", bound=Settings)


def validate(
    model: type[S],
    values: Mapping[str, object],
    *,
    source: str,
    flags: Mapping[str, object] | None = None,
) -> S:
    """Build ``model`` from ``values``; raises ConfigError with one line per fault, all of them.

    ``source`` names where the values come from, except for those that ``flags`` gave.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        given = _Given(model, values, source, flags or {})
        found = _by_key(values, error.errors(include_url=False))
        raise ConfigError(
            "\n".join(given.line(names, faults) for names, faults in found.items()),
            remedy="`tunesmith train --help` lists every key.",
        ) from None


def _by_key(values: Mapping[str, object], errors: Sequence[_Fault]) -> dict[_Names, list[_Fault]]:
    """The faults of each key. A union reports one for each of its members; those inside the member
    that was meant say more than that the others do not fit.
    """
    found: dict[_Names, list[_Fault]] = {}
    for fault in errors:
        found.setdefault(_user_path(values, fault), []).append(fault)
    outer = {names[:depth] for names in found for depth in range(1, len(names))}
    return {names: faults for names, faults in found.items() if names not in outer}


@dataclass(frozen=True, slots=True)
class _Given:
    """Values that were refused, and where they come from: ``source`` or ``flags``."""

    model: type[Settings]
    values: Mapping[str, object]
    source: str
    flags: Mapping[str, object]

    def line(self, names: _Names, faults: Sequence[_Fault]) -> str:
        """The line for the faults of one key."""
        fault, context = faults[0], faults[0].get("ctx")
        if fault["type"] == "extra_forbidden":
            key = ".".join(names)
            return f"{self._place(names)}: unknown key `{key}`; {self._hint(names)}"
        value = fault.get("input")
        is_hidden = isinstance(value, dict) or fault["type"] in (SECRET, "missing")
        shown = "" if is_hidden else f" (given: {value!r})"
        why = f"{reason(fault)}{shown}"
        if fault["type"] == "union_tag_invalid" and isinstance(context, dict):
            names = (*names, "kind")
            why = _unknown_kind(str(context["tag"]), str(context["expected_tags"]))
        elif fault["type"] == "union_tag_not_found":
            names, why = (*names, "kind"), "is missing"
        elif len(faults) > 1 and (field := self._fields(names[:-1]).get(names[-1])):
            why = f"must be {sentence(field.annotation)}{shown}"
        place, key = self._place(names, _keys_at_fault(fault)), ".".join(names)
        return f"{place}: {why}" if place == f"--{key}" or not key else f"{place}: `{key}`: {why}"

    def _place(self, names: _Names, at_fault: Sequence[str] = ()) -> str:
        """The flag that gave a key, or the source, with the flags that went into its section.

        Where some keys of the section are ``at_fault``, only the flags that gave those.
        """
        here: object = self.flags
        for depth, name in enumerate(names, start=1):
            if not isinstance(here, Mapping) or name not in here:
                return self.source
            here, key = here[name], ".".join(names[:depth])
            if not isinstance(here, Mapping) or key in known_keys(self.model):
                return f"--{key}"
        inside = [key for key in known_keys(self.model) if _starts_with(names, key)]
        if at_fault:
            inside = [key for key in inside if key.split(".")[len(names)] in at_fault]
        given = ", ".join(f"--{key}" for key in inside if _is_in(key, self.flags))
        if not names or not given:
            return self.source
        return given if self.source == COMMAND_LINE else f"{self.source} with {given}"

    def _hint(self, names: _Names) -> str:
        """The known key that an unknown one was meant to be: of the same place, else of any."""
        *parents, last = names
        beside = list(self._fields(parents))
        if (key := ".".join(names)) in known_keys(self.model):
            return f"`{key}` is a key of another kind; known here: {', '.join(beside)}"
        if peer := ours(last):
            return f"here it is `{peer}`"
        near = difflib.get_close_matches(last, beside, n=1, cutoff=0.5)
        if near:
            return f"did you mean `{'.'.join([*parents, near[0]])}`?"
        elsewhere = {key.rpartition(".")[2]: key for key in known_keys(self.model)}
        near = difflib.get_close_matches(last, elsewhere, n=1)
        if near:
            return f"did you mean `{elsewhere[near[0]]}`?"
        return f"known here: {', '.join(beside)}"

    def _fields(self, parents: Sequence[str]) -> dict[str, FieldInfo]:
        """The keys that may be under ``parents``, items of lists and chosen kinds followed."""
        models: list[type[BaseModel]] = [self.model]
        here: object = self.values
        for name in parents:
            if isinstance(here, list | tuple):
                here = _inside(here, int(name))
            else:
                here = _inside(here, name)
                models = [inner for m in models for inner in _models_under(m, name)]
            if isinstance(here, Mapping) and "kind" in here:
                kind = here["kind"]
                models = [m for m in models if kind in get_args(m.model_fields["kind"].annotation)]
        return {f.alias or name: f for m in models for name, f in m.model_fields.items()}


def _keys_at_fault(fault: _Fault) -> Sequence[str]:
    """The keys that a fault of a whole section is about; none where it does not say."""
    context = fault.get("ctx")
    error = context.get("error") if isinstance(context, Mapping) else None
    return error.keys if isinstance(error, TogetherError) else ()


def _unknown_kind(kind: str, known: str) -> str:
    """``known``: the names in quotes, as pydantic lists them."""
    near = difflib.get_close_matches(kind, known.replace("'", "").split(", "), n=1)
    if near:
        return f"unknown kind {kind!r}; did you mean {near[0]!r}? Known: {known}"
    return f"unknown kind {kind!r}; known: {known}"


def _models_under(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    fields = [f for name, f in model.model_fields.items() if key in (name, f.alias)]
    return [inner for f in fields for inner in nested_models(f.annotation, lists=True)]


def _starts_with(names: _Names, key: str) -> bool:
    return tuple(key.split("."))[: len(names)] == names


def _is_in(key: str, values: Mapping[str, object]) -> bool:
    here: object = values
    for name in key.split("."):
        if not isinstance(here, Mapping) or name not in here:
            return False
        here = here[name]
    return True


def _user_path(values: Mapping[str, object], fault: _Fault) -> _Names:
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
    return tuple(names)


def _inside(values: object, part: object) -> object:
    """What lies under a key or an index; None where there is nothing."""
    if isinstance(values, Mapping):
        return values.get(part)
    if isinstance(values, list | tuple) and isinstance(part, int):
        return values[part] if part < len(values) else None
    return None
