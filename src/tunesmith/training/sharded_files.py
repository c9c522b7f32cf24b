"""Sharded tensors in a folder of torch.distributed.checkpoint.

Each rank writes and reads its own parts, and any number of ranks reads what another one wrote.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from tunesmith.core import ranks
from tunesmith.core.errors import RunError
from tunesmith.core.rank_work import by_each
from tunesmith.core.ranks import ReportedElsewhere
from tunesmith.engine.shard import is_sharded

Parts = Mapping[str, Mapping[str, Tensor]]  # by kind, then by name


def save(folder: Path, parts: Parts) -> None:
    """Write each rank's parts, on all ranks at once; those that are whole once.

    Raises RunError where a rank does not see the folder, which rank 0 has made.
    """
    from torch.distributed.checkpoint.state_dict_saver import save as save_parts

    if ranks.broadcast(True) is None:  # rank 0 has made the folder
        raise ReportedElsewhere("Rank 0 ended.")
    by_each(lambda: _require_seen(folder))
    save_parts(_flat(parts), checkpoint_id=folder)
    ranks.gather(None)  # complete on all ranks


def load_(folder: Path, parts: Parts) -> None:
    """Put what is saved into these tensors, on all ranks at once where they are sharded.

    Raises RunError where the files are damaged or hold other tensors.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load as load_parts

    tensors = _flat(parts)
    are_sharded = any(map(is_sharded, tensors.values()))
    try:
        with warnings.catch_warnings():  # that there is one process
            warnings.simplefilter("ignore", UserWarning)
            load_parts(tensors, checkpoint_id=folder, no_dist=not are_sharded)
    except (CheckpointException, RuntimeError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise RunError(
            f"{folder}: damaged, or saved by another method or optimizer: {first}.",
            remedy=f"Remove {folder.parent} to continue from the checkpoint before.",
        ) from error


def _flat(parts: Parts) -> dict[str, Tensor]:
    return {
        f"{kind}.{name}": tensor.detach()
        for kind, part in parts.items()
        for name, tensor in part.items()
    }


def _require_seen(folder: Path) -> None:
    if not folder.is_dir():
        raise RunError(
            f"{folder} is missing on rank {ranks.rank()}: ranks write a sharded model together.",
            remedy="Set out to a folder on a disk that all machines share.",
            code="disk",
        )
