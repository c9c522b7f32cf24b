"""Does an adapter fit a base? Its own files, name and hash, layers and widths, finite values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from tunesmith.adapters.class_names import as_in_class
from tunesmith.adapters.folder import (
    FILE,
    Origin,
    StoredTensors,
    read_config,
    read_origin,
    recordable,
    recorded_files,
)
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, PARTS, file_sha256, hash_folder, hash_parts
from tunesmith.models.names import hub_id_of, portable_name

SHOWN = 5  # mismatches in a message
SHOWN_HASH = 12  # letters of a hash
EARLIER = "Use an earlier checkpoint: the training went wrong."

COPY_AGAIN = (
    "Copy the folder again from where it was made. If the change is meant: --force accepts it, and "
    f"`adapters export --to peft --force` writes a copy with a record of its own ({FILE})."
)

TITLES = {
    "weights": "the weights",
    "tokenizer": "the tokenizer or its chat template",
    "config": "the config",
}
FILES_OF = {
    "tokenizer": "the tokenizer's files and the chat template",
    "config": "config.json and generation_config.json",
}

Kind = Literal["files", "format", "name", "hash", "layers", "values"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which base this is: the name that it was requested by, and its folder.

    ``trusted``: the user confirms that it is the right one where only the names differ, and that an
    adapter's own files were changed on purpose.
    """

    name: str
    folder: Path
    trusted: bool = False

    @property
    def sha256(self) -> str:
        """Of all its files together."""
        return hash_folder(self.folder)[COMBINED]

    def origin(self, kind: str) -> Origin:
        """What an adapter or model of this base, made by a method of this kind, records of it."""
        name, hub_id = portable_name(self.name), hub_id_of(self.name, self.folder)
        return Origin(name, self.sha256, kind, hub_id, hash_parts(self.folder))


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that does not fit, and its remedy; ``overridden`` where the user accepts it.

    ``differs``: of a base with another hash the parts (``models.hashes.PARTS``) that are not the
    same, of the adapter's own files their names; empty where that is not known.
    """

    kind: Kind
    message: str
    remedy: str
    overridden: bool = False
    differs: tuple[str, ...] = ()


def mismatches(folder: Path, engine: Engine, base: Identity | None = None) -> list[Mismatch]:
    """Everything about the adapter in ``folder`` that does not fit the base.

    ``engine`` may have no weights (on the meta device). Without ``base`` its name and hash do not
    count. A folder that cannot be read is a mismatch of kind `format`.
    """
    files = of_files(folder, trusted=base is not None and base.trusted, fresh=True)
    try:
        config = read_config(folder)
        tensors = StoredTensors(folder)
        table.reader_of(config, folder).from_peft(config, tensors)
    except AdapterError as error:
        message = error.message.removeprefix(f"{folder}: ")
        return [*files, Mismatch("format", message.rstrip("."), error.remedy)]
    _, named = as_in_class(engine, config, tensors)
    return [*files, *of_base(folder, config, base), *of_tensors(folder, engine, named)]


def of_files(folder: Path, *, trusted: bool = False, fresh: bool = False) -> Sequence[Mismatch]:
    """Files of the adapter that are not as they were recorded when it was written.

    None for an adapter without a record. ``fresh`` reads every byte, in place of trusting that a
    file of the same size and modification time is the same.
    """
    recorded = recorded_files(folder)
    if recorded is None:
        return []
    found = {path.name: file_sha256(path, fresh=fresh) for path in recordable(folder)}
    return [
        Mismatch("files", text, COPY_AGAIN, trusted, (name,))
        for name, text in _differing_files(recorded, found)
    ]


def _differing_files(
    recorded: Mapping[str, str], found: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for name in sorted({**recorded, **found}):
        if name not in found:
            yield name, f"{name} is missing: it was written with the adapter"
        elif name not in recorded:
            yield name, f"{name} was added: it was not written with the adapter"
        elif (now := found[name]) != (then := recorded[name]):
            hashes = f"{then[:SHOWN_HASH]}... when it was written, {now[:SHOWN_HASH]}... now"
            yield name, f"{name} was changed: SHA-256 {hashes}"


def of_base(
    folder: Path, config: Mapping[str, object], base: Identity | None
) -> Sequence[Mismatch]:
    """Whether the adapter belongs to another base: by its hash where it is known, else by name."""
    if base is None:
        return []
    origin = read_origin(folder)
    if origin is not None:
        return _of_hash(folder, origin, base)
    written = str(config.get("base_model_name_or_path") or "")
    if not written or _same_name(written, base):
        return []
    message = f"it names {written!r} as its base, this is {base.name!r}"
    remedy = f"Load {written!r}; --force confirms that both are the same base."
    return [Mismatch("name", message, remedy, overridden=base.trusted)]


def _of_hash(folder: Path, origin: Origin, base: Identity) -> Sequence[Mismatch]:
    """That the base has another content, and in which of its parts."""
    if origin.sha256 == (found := base.sha256):
        return []
    parts = hash_parts(base.folder) if origin.parts else {}
    differs = tuple(part for part in PARTS if parts and parts[part] != origin.parts.get(part))
    if parts and not differs:  # written by another version of transformers
        return []
    message = (
        f"its base {origin.base!r} has the SHA-256 {origin.sha256[:SHOWN_HASH]}..., "
        f"{base.name!r} has {found[:SHOWN_HASH]}...: {_which(differs)}"
    )
    return [Mismatch("hash", message, _remedy(folder, origin, base, differs), differs=differs)]


def _which(differs: Sequence[str]) -> str:
    """Which parts of two bases differ, and which do not."""
    if not differs:
        return "other weights, another tokenizer or another config (an earlier version recorded it)"
    same = [part for part in PARTS if part not in differs]
    text = f"{' and '.join(TITLES[part] for part in differs)} {_verb(differs, 'differs', 'differ')}"
    if same:
        text += f"; the {' and '.join(same)} {_verb(same, 'is', 'are')} the same"
    return text


def _verb(parts: Sequence[str], one: str, several: str) -> str:
    return several if len(parts) > 1 or parts[0] == "weights" else one


def _remedy(folder: Path, origin: Origin, base: Identity, differs: Sequence[str]) -> str:
    load = f"Load {origin.base!r} as it was, "
    if differs and "weights" not in differs:
        files = " and ".join(FILES_OF[part] for part in differs)
        return f"{load}or copy {files} from it into {base.folder}."
    return f"{load}or continue training over this base: --method.init {folder}"


def of_tensors(folder: Path, engine: Engine, tensors: Mapping[str, Tensor]) -> Sequence[Mismatch]:
    """Layers that the base lacks or has in other widths, and values that are not finite."""
    config = read_config(folder)
    load = f"It names {config.get('base_model_name_or_path')!r} as its base; load that."
    misfits = table.reader_of(config, folder).misfits(engine, tensors)
    odd = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    return [Mismatch("layers", each, load) for each in misfits] + [
        Mismatch("values", f"{name} holds values that are not finite", EARLIER) for name in odd
    ]


def require(folder: Path, found: Sequence[Mismatch]) -> None:
    """Raise AdapterError that lists the mismatches which are not overridden."""
    left = [each for each in found if not each.overridden]
    if not left:
        return
    shown = "; ".join(each.message for each in left[:SHOWN])
    more = f"; and {len(left) - SHOWN} more" if left[SHOWN:] else ""
    kinds = {each.kind for each in left}
    what = {frozenset({"values"}): "is broken", frozenset({"files"}): "is not as it was written"}
    raise AdapterError(
        f"{folder}: the adapter {what.get(frozenset(kinds), 'was not made for this base')}: "
        f"{shown}{more}.",
        remedy=" ".join(dict.fromkeys(each.remedy for each in left)),
    )


def _same_name(written: str, base: Identity) -> bool:
    """Whether two names mean one base: a path, or an owner on the hub, does not count."""
    names = {_last(base.name), _last(str(base.folder.resolve()))}
    return _last(written) in names


def _last(name: str) -> str:
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].lower()
