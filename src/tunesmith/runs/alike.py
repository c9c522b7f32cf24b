"""Do all ranks train the same: base, data, arithmetic? What differs would part them silently."""

from collections.abc import Iterator

from tunesmith.config import RunConfig
from tunesmith.core.numbers import pluralize
from tunesmith.core.rank_work import require_same
from tunesmith.core.ranks import size
from tunesmith.data.dataset import RunRows
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.load import Base
from tunesmith.runs.result import data_sha256
from tunesmith.training.checkpoint import arithmetic

SHOWN = 12  # digits of a hash


def require_alike(config: RunConfig, base: Base, rows: RunRows) -> None:
    """Raise RunError, on rank 0, for the first of these in which they differ, with who has what."""
    if size() == 1:
        return
    require_same(
        "the base",
        f"{base.folder} (sha256 {hash_folder(base.folder)[COMBINED][:SHOWN]})",
        "Copy the same base to every machine.",
        by=hash_folder(base.folder)[COMBINED],
    )
    hashes = dict(_hashes(config))
    require_same(
        "the data",
        ", ".join(f"{path} (sha256 {value[:SHOWN]})" for path, value in hashes.items())
        + f", {pluralize(len(rows.train), 'row')} to train on",
        "Copy the same files to every machine, or read them from a disk that all share.",
        by=(hashes, len(rows.train), rows.train.tokens),
    )
    here = arithmetic(base.device)
    require_same(
        "what can change the last bit of a result",
        ", ".join(f"{key} {value}" for key, value in here.items()),
        "Start ranks of one kind: the same torch, the same number of threads (OMP_NUM_THREADS), "
        "processors or cards of one kind.",
        by=here,
    )


def _hashes(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Each data file with its hash."""
    data = config.data
    for source in (*data.sources, *([data.held] if data.held else [])):
        found = data_sha256(source, data)
        yield from found.items() if isinstance(found, dict) else [(source.path, found)]
