"""How many records are worked on at once: so many, and fewer where they are large."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tunesmith.data.records import Record


@dataclass(frozen=True, slots=True)
class Size:
    """The most that goes into a chunk; one record may be larger by itself."""

    records: int
    characters: int


SAMPLE = Size(1000, 1 << 24)  # what a format is recognised by
BATCH = Size(256, 1 << 22)


def chunked(records: Iterator[Record], size: Size) -> Iterator[list[Record]]:
    """The records in lists that are not empty; what is not asked for is left in ``records``."""
    chunk: list[Record] = []
    characters = 0
    for record in records:
        chunk.append(record)
        characters += characters_of(record.values)
        if len(chunk) >= size.records or characters >= size.characters:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def characters_of(value: object) -> int:
    """About how many characters a value holds, with all that is inside it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(characters_of, value.values())) + characters_of_all(value)
    if isinstance(value, list | tuple):
        return characters_of_all(value)
    return 8


def characters_of_all(values: Iterable[object]) -> int:
    """The same of several."""
    return sum(map(characters_of, values))
