"""The fields that settings of several checks share."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

CheckName = Annotated[
    str | None, Field(min_length=1, description="shown in tables; the kind unless given")
]


def _listed(value: object) -> object:
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool) for item in items):
        raise ValueError("YAML reads Yes, No, on and off as true and false: put them in quotes")
    return items


def _none_is_blank(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(text.strip() for text in texts):
        raise ValueError("a text is blank, and so would be found in every answer")
    return texts


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_none_is_blank)]
"""Texts to look for, with their white space: one, or a list of them, none blank."""
