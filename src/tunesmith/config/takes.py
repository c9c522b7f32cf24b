"""What a user may write for a value of a type, in words."""

import types
from typing import Annotated, Literal, Union, get_args, get_origin

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
    """Each thing that may stand there: `number` and `auto`."""
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
    *most, last = (_IN_A_SENTENCE.get(word, word) for word in words)
    return f"{', '.join(most)} or {last}" if most else last
