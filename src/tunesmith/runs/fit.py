"""Does an adapter fit a base? Asked of the files of both, without loading the base's weights."""

from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.adapters.fit import Identity, Mismatch, mismatches
from tunesmith.adapters.loaded_base import open_skeleton
from tunesmith.core.errors import ModelError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.engine.families import supported
from tunesmith.engine.forward import Engine
from tunesmith.runs.locate import LocatedTarget, require_base


@dataclass(frozen=True, slots=True)
class Verified:
    """An adapter beside a base, and everything in which the two do not fit."""

    adapter: Path
    base: Identity
    skeleton: Engine
    mismatches: tuple[Mismatch, ...]

    @property
    def fits(self) -> bool:
        """Whether nothing is left that is not overridden."""
        return all(each.overridden for each in self.mismatches)

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        return {
            "adapter": str(self.adapter),
            "base": {
                "name": self.base.name,
                "folder": str(self.base.folder),
                "sha256": self.base.sha256,
            },
            "fits": self.fits,
            "mismatches": [asdict(each) for each in self.mismatches],
        }


def verify_adapter(
    found: LocatedTarget,
    model: str | None = None,
    *,
    force: bool = False,
    progress: Progress = SILENT,
) -> Verified:
    """Compare an adapter with ``model``, else with the base that it names.

    ``force``: a base whose name alone differs is the right one. Raises AdapterError where the base
    that it names is not here, ModelError for one that cannot be used.
    """
    assert found.adapter is not None
    if model is None:
        require_base(found)
    name = model or found.model
    try:
        folder, skeleton = open_skeleton(name, progress=progress)
    except ModelError as error:
        if model is not None:
            raise
        raise ModelError(
            f"{found.adapter} names {name!r} as its base, which cannot be used: {error.message}",
            remedy=f"Where that base lies here, name it: --model FOLDER. "
            f"A base of the families {supported()} can be used; adapters of another one stay with "
            "the program that made them.",
        ) from None
    base = Identity(name, folder, trusted=force)
    return Verified(found.adapter, base, skeleton, tuple(mismatches(found.adapter, skeleton, base)))
