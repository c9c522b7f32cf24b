"""Published bases with a short name: size, languages, licence, and which are for a language.

Loading this file imports no library of tensors.
"""

import functools
from collections.abc import Collection, Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from tunesmith.core import yaml_text
from tunesmith.models.catalog import ENTRIES

BYTES_PER_PARAMETER = 2  # in bfloat16
ROOM = 2
"""A base fits where this many times its weights are available; a run measures what it needs."""


FREE_LICENCES = ("Apache-2.0", "MIT")


class HubBase(BaseModel):
    """A base of the hub as its publisher describes it, and when that was checked.

    ``family`` is its config's model_type; None: not documented. ``languages`` are those that the
    publisher names, ``of_languages`` how many it claims; ``fit``: the tasks it means it for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    hub_id: str
    family: str | None
    parameters: int
    licence: str
    languages: tuple[str, ...]
    of_languages: int | None = None
    fit: str = ""
    gated: bool = False
    checked: str
    source: str

    @property
    def is_free(self) -> bool:
        """Whether anyone may use it for anything, without asking its publisher first."""
        return self.licence in FREE_LICENCES and not self.gated

    @property
    def weight_bytes(self) -> int:
        """Bytes of its weights in memory, in bfloat16."""
        return BYTES_PER_PARAMETER * self.parameters

    def fits(self, available: int | None) -> bool:
        """Whether a run over it has room in so many bytes of memory; None: unknown."""
        return available is None or ROOM * self.weight_bytes <= available


@functools.cache
def hub_bases() -> tuple[HubBase, ...]:
    """All of them, in the order in which they are proposed."""
    text = (Path(str(files(__package__))) / "hub_bases.yaml").read_text(encoding="utf-8")
    rows = [{**row, "checked": str(row["checked"])} for row in yaml_text.read(text)]
    return tuple(TypeAdapter(list[HubBase]).validate_python(rows))


def find_hub_base(name: str) -> HubBase | None:
    """The base of this short name or hub id, upper or lower case."""
    wanted = name.lower()
    return next((b for b in hub_bases() if wanted in (b.name, b.hub_id.lower())), None)


def published_languages(model: str) -> tuple[str, ...]:
    """The languages that a base is published for; () where that is not known here."""
    entry = next((each for each in ENTRIES if each.name == model.lower()), None)
    if entry is not None:
        return entry.languages
    base = find_hub_base(model)
    return base.languages if base else ()


def is_published_for(model: str, language: str) -> bool | None:
    """Whether a base's publisher names the language; None where it is not known.

    So it is for a base that is not in the table, and where the publisher claims more languages than
    it names.
    """
    named, base = published_languages(model), find_hub_base(model)
    if language in named:
        return True
    return None if not named or (base and base.of_languages) else False


def bases_for(
    language: str, *, families: Collection[str], available: int | None, large_first: bool = False
) -> Sequence[HubBase]:
    """Bases of these families whose publisher names the language, those that fit first.

    ``available``: bytes of memory for a run, None where unknown. ``large_first``: where a step is
    fast, those that fit in descending size.
    """
    found = [b for b in hub_bases() if language in b.languages and b.family in families]
    if large_first:
        found.sort(key=lambda base: -base.parameters)
    return sorted(found, key=lambda base: not base.fits(available))
