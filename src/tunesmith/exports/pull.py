"""An adapter that was pushed, fetched into a folder, and every file's SHA-256 verified."""

import fnmatch
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.adapters.folder import (
    FILE,
    INDEX,
    NOTE_HASHES,
    is_note,
    read_own,
    recorded_files,
)
from tunesmith.core import files
from tunesmith.core.errors import AdapterError
from tunesmith.core.files import sha256_of
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.exports.places import CONFIGS, Place
from tunesmith.models.cache import cache_root
from tunesmith.models.hashes import TOKENIZER_FILES

# What is fetched of an adapter without a record: no file that could hold code.
KNOWN = (*CONFIGS, "*.safetensors", INDEX, *TOKENIZER_FILES)
SHOWN_HASH = 12
FETCH_AGAIN = "Fetch it again; if that is no different, ask whoever pushed it."


@dataclass(frozen=True, slots=True)
class PulledAdapter:
    """Its folder, how many files have the SHA-256 that is recorded of them, and remarks."""

    place: str
    folder: Path
    verified: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """What `adapters pull --json` prints."""
        return {
            "repo": self.place,
            "adapter": str(self.folder),
            "verified": self.verified,
            "notes": list(self.notes),
        }


def pull(place: Place, out: Path | None = None, *, progress: Progress = SILENT) -> PulledAdapter:
    """Fetch what was pushed to ``place`` into the new folder ``out``, or into the cache.

    The folder is complete or absent. Raises AdapterError where a file is not the one that was
    pushed, or ``out`` holds something, and StorageError where the place cannot be read.
    """
    folder = out or _cached(place)
    if out is not None:
        files.require_new(out)
    names = place.names()
    verified: list[str] = []

    def fill(into: Path) -> None:
        if FILE in names:
            place.fetch(FILE, into)
        recorded = recorded_files(into)
        if recorded is not None:
            recorded = {**recorded, **read_own(into).get(NOTE_HASHES, {})}
        wanted = _wanted(place, names, recorded)
        for name in wanted:
            progress.phase(f"fetching {name}")
            place.fetch(name, into)
        verified.extend(_verified(place, into, recorded or {}))

    files.publish(folder, fill, remedy="Free space, or name another folder with --out.")
    return PulledAdapter(place.name, folder, len(verified), tuple(_notes(verified, wanted=names)))


def _cached(place: Place) -> Path:
    """A folder in the cache, under the name that the adapter has there."""
    digest = hashlib.sha256(place.name.encode()).hexdigest()[:SHOWN_HASH]
    return cache_root() / "adapters" / digest / Path(place.name.rstrip("/")).name


def _wanted(
    place: Place, names: Sequence[str], recorded: Mapping[str, str] | None
) -> Sequence[str]:
    """The files to fetch: those of the record; without one those that are known, and notes."""
    if recorded is None:
        found = [name for name in names if is_note(name) or _is_any(name, KNOWN)]
        for wanted in (CONFIGS, ("*.safetensors",)):
            if not any(_is_any(name, wanted) for name in found):
                raise AdapterError(
                    f"{place.name} holds no adapter: there is no {wanted[0]} in it.",
                    remedy="Name what `tunesmith adapters push` reported.",
                )
        return found
    if strange := [name for name in recorded if Path(name).name != name or name == FILE]:
        raise AdapterError(
            f"{place.name}: {FILE} names {', '.join(strange)}, which is no file of an adapter.",
            remedy=FETCH_AGAIN,
        )
    if lost := [name for name in recorded if name not in names]:
        raise AdapterError(
            f"{place.name}: {', '.join(lost)} missing, which {FILE} names.", remedy=FETCH_AGAIN
        )
    return list(recorded)


def _is_any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _verified(place: Place, into: Path, recorded: Mapping[str, str]) -> Iterator[str]:
    """The files that are as recorded; raises AdapterError with those that are not."""
    wrong = []
    for name, then in recorded.items():
        if (now := sha256_of(into / name)) == then:
            yield name
        else:
            hashes = f"{now[:SHOWN_HASH]}..., not {then[:SHOWN_HASH]}..."
            wrong.append(f"{name} (SHA-256 {hashes})")
    if wrong:
        raise AdapterError(
            f"{place.name}: not as it was pushed: {'; '.join(wrong)}.", remedy=FETCH_AGAIN
        )


def _notes(verified: Sequence[str], *, wanted: Sequence[str]) -> Iterator[str]:
    if not verified:
        files = pluralize(len(wanted), "file")
        yield f"it has no record ({FILE}): its {files} could not be verified"
