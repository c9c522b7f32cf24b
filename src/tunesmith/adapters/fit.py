"""Does an adapter fit a base? Name and hash, layers and their widths, finite values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from tunesmith.adapters.folder import StoredTensors, read_config, read_origin
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import Engine
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, hash_folder

SHOWN = 5  # mismatches in a message
SHOWN_HASH = 12  # letters of a hash
EARLIER = "Use an earlier checkpoint: the training went wrong."

Kind = Literal["format", "name", "hash", "layers", "values"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which base this is: the name that it was requested by, and its folder.

    ``trusted``: the user confirms that it is the right one where only the names differ.
    """

    name: str
    folder: Path
    trusted: bool = False

    @property
    def sha256(self) -> str:
        """Of all its files together."""
        return hash_folder(self.folder)[COMBINED]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that does not fit, and its remedy; ``overridden`` where the user trusts a name."""

    kind: Kind
    message: str
    remedy: str
    overridden: bool = False


def mismatches(folder: Path, engine: Engine, base: Identity | None = None) -> list[Mismatch]:
    """Everything about the adapter in ``folder`` that does not fit the base.

    ``engine`` may have no weights (on the meta device). Without ``base`` its name and hash do not
    count. A folder that cannot be read is a mismatch of kind `format`.
    """
    try:
        config = read_config(folder)
        tensors = StoredTensors(folder)
        table.reader_of(config, folder).from_peft(config, tensors)
    except AdapterError as error:
        message = error.message.removeprefix(f"{folder}: ")
        return [Mismatch("format", message.rstrip("."), error.remedy)]
    return [*of_base(folder, config, base), *of_tensors(folder, engine, tensors)]


def of_base(
    folder: Path, config: Mapping[str, object], base: Identity | None
) -> Sequence[Mismatch]:
    """Whether the adapter belongs to another base: by its hash where it is known, else by name."""
    if base is None:
        return []
    origin = read_origin(folder)
    if origin is not None:
        if origin.sha256 == (found := base.sha256):
            return []
        return [
            Mismatch(
                "hash",
                f"its base {origin.base!r} has the SHA-256 {origin.sha256[:SHOWN_HASH]}..., "
                f"{base.name!r} has {found[:SHOWN_HASH]}...: other weights, or another tokenizer",
                f"Load {origin.base!r} as it was, or continue training over this base: "
                f"--method.init {folder}",
            )
        ]
    written = str(config.get("base_model_name_or_path") or "")
    if not written or _same_name(written, base):
        return []
    message = f"it names {written!r} as its base, this is {base.name!r}"
    remedy = f"Load {written!r}; --force confirms that both are the same base."
    return [Mismatch("name", message, remedy, overridden=base.trusted)]


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
    broken = all(each.kind == "values" for each in left)
    raise AdapterError(
        f"{folder}: the adapter {'is broken' if broken else 'was not made for this base'}: "
        f"{shown}{more}.",
        remedy=" ".join(dict.fromkeys(each.remedy for each in left)),
    )


def _same_name(written: str, base: Identity) -> bool:
    """Whether two names mean one base: a path, or an owner on the hub, does not count."""
    names = {_last(base.name), _last(str(base.folder.resolve()))}
    return _last(written) in names


def _last(name: str) -> str:
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].lower()
