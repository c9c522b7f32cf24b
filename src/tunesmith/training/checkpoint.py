"""Checkpoints: everything the loop needs to continue as if it had never stopped."""

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tunesmith.core import files
from tunesmith.core.errors import RunError
from tunesmith.core.rank_sum import copy_from_first_
from tunesmith.core.rank_work import by_first
from tunesmith.core.ranks import is_first
from tunesmith.engine.device import describe
from tunesmith.engine.shard import is_sharded, own_part, own_rows
from tunesmith.methods.adapter import Adapter
from tunesmith.training import sharded_files
from tunesmith.training.optimizer import AVERAGE, set_steps_, state_tensors
from tunesmith.training.sharded_files import Parts

_TRAINED = "trained"
TRAINED, STATE, BEST = "trained.safetensors", "state.json", "best"
_ARITHMETIC, _AVERAGED = "arithmetic", "averaged"  # in STATE, beside the position
_FORMER = "top_passed"  # in those of earlier versions
SHARDS = "shards"  # in place of all safetensors, where ranks hold parts


@dataclass(frozen=True, slots=True)
class State:
    """The position of the run, beside the tensors."""

    step: int
    tokens: int
    train_loss: float  # of the last step
    best_loss: float | None = None
    best_step: int | None = None
    best_passed: float | None = None  # of the training rows that were answered then, if any
    best_accuracy: float | None = None  # of its held-out tokens, where it is what decides
    misses: int = 0  # held-out losses since the last clearly better one, and that one's loss
    reset_loss: float | None = None
    step_seconds: float = 0.0  # spent in steps after the first two, and their tokens
    step_tokens: int = 0
    hold_due: bool = False  # a stop came before the held-out loss of this step
    seconds: float = 0.0  # of all processes, from the first step of each to its last one kept
    loss_scale: float | None = None  # of float16, a power of two; None before its first step
    loss_scale_steps: int = 0  # since the scale changed

    @property
    def tokens_per_second(self) -> float | None:
        """Of the steps after the first two, which take longer; None before them."""
        return self.step_tokens / self.step_seconds if self.step_tokens else None


def arithmetic(device: torch.device) -> dict[str, str]:
    """What can change the last bit of a result: threads, versions, processor, card."""
    return {
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        **describe(device),
    }


def save(
    folder: Path,
    state: State,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint; complete or absent. Raises RunError where the disk refuses.

    On all ranks at once where parameters are sharded.
    """
    parts: Parts = {_TRAINED: parameters, **state_tensors(optimizer, parameters)}
    device = next(iter(parameters.values())).device
    beside = {_ARITHMETIC: arithmetic(device), _AVERAGED: AVERAGE in parts}
    _write(folder, parts, {**asdict(state), **beside})


def save_best(folder: Path, state: State, parameters: Mapping[str, nn.Parameter]) -> None:
    """Keep the tensors of the lowest held-out loss, without what training needs to resume."""
    _write(folder / BEST, {_TRAINED: parameters}, asdict(state))


def _write(folder: Path, parts: Parts, values: Mapping[str, object]) -> None:
    sharded = any(map(is_sharded, parts[_TRAINED].values()))

    def fill(into: Path) -> None:
        if sharded:
            (into / SHARDS).mkdir()
            sharded_files.save(into / SHARDS, parts)
        else:
            for kind, part in parts.items():
                save_file({name: t.detach() for name, t in part.items()}, into / _file(kind))
        (into / STATE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def write() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tensors = [tensor for part in parts.values() for tensor in part.values()]
        files.require_space(folder.parent, sum(t.numel() * t.element_size() for t in tensors))
        files.publish(folder, fill)

    if sharded and not is_first():
        sharded_files.save(files.temporary_of(folder) / SHARDS, parts)
    by_first(write)


def require_room(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    keep: int,
) -> None:
    """Raise RunError where what is still to be written does not fit on the disk of ``folder``.

    That is as many checkpoints as are kept, without those that are there, one more while an old
    one is replaced, the tensors of the best one, and those of the result.
    """
    parts: list[Mapping[str, Tensor]] = [parameters]
    parts += state_tensors(optimizer, parameters).values()
    sizes = [sum(t.numel() * t.element_size() for t in part.values()) for part in parts]
    missing = max(0, keep - len(list(folder.glob("step-*")))) + 1
    needed = missing * sum(sizes) + 2 * sizes[0]
    files.require_space(folder.parent, needed, what="the run with its checkpoints")
    files.require_file_size(folder.parent, max(sizes), what="a checkpoint")


def newest(folder: Path) -> Path | None:
    """The complete checkpoint of the latest step below ``folder``; leftovers are removed."""
    if not folder.is_dir():
        return None
    files.sweep(folder)
    return max(folder.glob("step-*"), key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(checkpoint.name.removeprefix("step-"))


def folder_of(parent: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return parent / f"step-{step:08d}"


def prune(folder: Path, *, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints; the best one is not counted."""
    for old in sorted(folder.glob("step-*"), key=step_of)[:-keep]:
        shutil.rmtree(old)


def tensors_of(checkpoint: Path) -> dict[str, Tensor]:
    """The trained tensors; RunError for a damaged file."""
    return _tensors(checkpoint / TRAINED)


def restore_(
    checkpoint: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> tuple[State, tuple[str, ...]]:
    """Put tensors and moments back; the state, and reasons why resuming is not bit for bit.

    Rank 0 reads them, the others get them from it. Where parameters are sharded each reads its own.
    """
    parts: Parts = {_TRAINED: parameters, **state_tensors(optimizer, parameters)}
    state, beside = by_first(lambda: _read(checkpoint))
    if any(map(is_sharded, parameters.values())):
        _load_(checkpoint, parts)
    else:
        by_first(lambda: _load_(checkpoint, parts))
        copy_from_first_([tensor for part in parts.values() for tensor in part.values()])
    set_steps_(optimizer, parameters, state.step)
    then, now = beside.get(_ARITHMETIC, {}), arithmetic(next(iter(parameters.values())).device)
    changed = [
        f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]
    ]
    return state, tuple(changed)


def put_back_(checkpoint: Path, adapter: Adapter) -> None:
    """Give the adapter what its held-out loss at a checkpoint was of: the average, where one was
    kept; a sharded adapter on all ranks at once.
    """
    _load_(checkpoint, {_TRAINED: adapter.parameters})
    if _read(checkpoint)[1].get(_AVERAGED):
        _load_(checkpoint, {AVERAGE: adapter.trained})


def put_back_on_all_(checkpoint: Path, adapter: Adapter) -> None:
    """``put_back_`` where all ranks train: rank 0 reads, or each the part that it holds."""
    if adapter.is_sharded:
        put_back_(checkpoint, adapter)
    else:
        by_first(lambda: put_back_(checkpoint, adapter))
        copy_from_first_([tensor.detach() for tensor in adapter.parameters.values()])


def read_state(checkpoint: Path) -> State:
    """The run's position; RunError for a damaged file."""
    return _read(checkpoint)[0]


@torch.no_grad()
def _load_(checkpoint: Path, parts: Parts) -> None:
    if (checkpoint / SHARDS).is_dir():
        sharded_files.load_(checkpoint / SHARDS, parts)
        return
    for kind, tensors in parts.items():
        _copy_into_(tensors, checkpoint / _file(kind))


def _copy_into_(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put a file's tensors into these; RunError where they are others, in shape or format."""
    is_left_out = path.name == _file(AVERAGE) and not path.exists()
    saved = {} if is_left_out else _tensors(path)
    for name, tensor in tensors.items():
        found = saved.get(name)
        if found is None or (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
            raise RunError(
                f"{path}: was not saved by this run's optimizer (see {name}).",
                remedy="Resume with the train.optimizer, the train.average_steps and the method "
                "that the run began with.",
            )
        own_part(tensor.detach()).copy_(own_rows(found, tensor))


def _file(kind: str) -> str:
    return f"{kind}.safetensors"


def _read(checkpoint: Path) -> tuple[State, dict[str, Any]]:
    """The run's position and what is beside it; RunError for a damaged file."""
    try:
        values = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        beside = {key: values.pop(key) for key in (_ARITHMETIC, _AVERAGED) if key in values}
        values.pop(_FORMER, None)
        return State(**values), beside
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{checkpoint / STATE}: damaged: {error}.",
            remedy=f"Remove {checkpoint} to continue from the one before.",
        ) from None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"{path}: damaged: {error}.",
            remedy=f"Remove {path.parent} to continue from the checkpoint before.",
        ) from None
    return tensors
