"""Whether a run's base is sharded over its ranks, and what each rank takes then."""

import torch

from tunesmith.adapters.loaded_base import LoadedBase, open_sharded
from tunesmith.config import RunConfig
from tunesmith.config.methods import first_kind, needs_four_bit
from tunesmith.config.run import OptimizerKind
from tunesmith.core import ranks
from tunesmith.core.errors import ConfigError, MemoryRefusal
from tunesmith.core.numbers import bytes_text
from tunesmith.core.progress import Progress
from tunesmith.core.rank_work import in_turn
from tunesmith.engine import memory
from tunesmith.engine.model_shape import shape_of_base
from tunesmith.estimate.memory import BaseMemory, Setup, base_memory
from tunesmith.methods import table
from tunesmith.models.load import config_of
from tunesmith.models.precision import detect_device, detect_dtype
from tunesmith.models.weights import number_format
from tunesmith.runs.result import open_for

SHARDING = ("cpu", "cuda", "xpu")  # devices whose ranks gather from each other
WIDE: tuple[OptimizerKind, ...] = ("adamw",)  # whose state is by weight, not by block
# Of the free memory that a base may take; the rest is for activations. Chosen, not measured.
ROOM = 0.8


def open_for_ranks(config: RunConfig, *, progress: Progress) -> LoadedBase:
    """The base that a config trains over: whole on each rank, or sharded over all.

    Raises what ``is_sharded_run`` does.
    """
    if not is_sharded_run(config, progress):
        return in_turn(lambda: open_for(config, progress=progress))
    device = detect_device(config.device)
    number, reason = detect_dtype(config.dtype, device)
    on_cpu = config.model_copy(update={"device": "cpu", "dtype": number_format(number)})
    wide = torch.float32 if table.of(config.method).trains_base else None
    loaded = open_sharded(lambda: open_for(on_cpu, progress=progress), device, dtype=wide)
    loaded.base.notes = (reason, *loaded.base.notes[1:])  # the first was that of the processor
    return loaded


def require_ranks(config: RunConfig) -> None:
    """Raise ConfigError where ``train.shard`` asks for what one rank or this device cannot do."""
    if config.train.shard is not True:
        return
    if ranks.size() == 1:
        raise ConfigError(
            "train.shard is true, but this run has one rank, and a base is sharded over several.",
            remedy="Start it with --ranks N or torchrun, or leave train.shard out.",
        )
    if (device := detect_device(config.device)).type not in SHARDING:
        raise ConfigError(
            f"train.shard is true, but a base cannot be sharded on {device.type}.",
            remedy="Set device to cpu or cuda, or leave train.shard out.",
        )
    _require_optimizer(config)


def _require_optimizer(config: RunConfig) -> None:
    kind = config.train.optimizer
    if table.of(config.method).trains_base and kind not in WIDE:
        raise ConfigError(
            f"{kind} keeps its state in blocks of whole weights, which are not there where weights "
            "are sharded (train.shard).",
            remedy=f"Set train.optimizer to {WIDE[0]}, or train.shard to false.",
        )


def is_sharded_run(config: RunConfig, progress: Progress) -> bool:
    """Whether ``train.shard`` shards the base over the ranks: as all of them have decided.

    A run that is resumed on one rank is whole there. Raises MemoryRefusal where the parts do not
    fit either, ConfigError where the optimizer cannot be sharded.
    """
    wanted, device = config.train.shard, detect_device(config.device)
    if wanted is False or ranks.size() == 1 or device.type not in SHARDING:
        return False
    found, room = in_turn(lambda: memory_of(config, progress)), _room(device)
    if wanted == "auto" and not ranks.any_of(found.whole > room):
        return False
    _require_optimizer(config)
    of_rank, least = found.of_rank(ranks.size()), min(ranks.gather(room))
    if of_rank > least:
        raise _refusal(config, of_rank, least)
    progress.notice(
        "shard",
        f"the base is sharded over {ranks.size()} ranks: with what its training holds it takes "
        f"{bytes_text(of_rank)} on each, not {bytes_text(found.whole)}",
    )
    return True


def memory_of(config: RunConfig, progress: Progress) -> BaseMemory:
    """What a run's base takes, from its config alone."""
    found = config_of(config.model, trust_remote_code=config.trust_remote_code, progress=progress)
    dtype, _ = detect_dtype(config.dtype, detect_device(config.device))
    setup = Setup(
        dtype=number_format(dtype),
        four_bit=needs_four_bit(config.method.kind),
        optimizer=config.train.optimizer,
        averages=config.train.may_average(has_held=config.data.holds_out),
    )
    return base_memory(shape_of_base(found), setup, trained=table.of(config.method).trains_base)


def _room(device: torch.device) -> int:
    """Bytes that this rank may give to the base."""
    free = memory.available_bytes(device)
    if free is None:
        return 2**63
    return int(ROOM * free) // (ranks.local_size() if device.type == "cpu" else 1)


def _refusal(config: RunConfig, needed: int, free: int) -> MemoryRefusal:
    size = ranks.size()
    ways = [f"more ranks than {size}"]
    if not needs_four_bit(config.method.kind):
        ways.append(f"--method {first_kind(four_bit=True)}")
    return MemoryRefusal(
        f"Sharded over {size} ranks, {config.model} takes {bytes_text(needed)} on each with what "
        f"its training holds, before any batch; a rank has {bytes_text(free)} for it.",
        remedy=f"Use {', '.join(ways)} or a smaller base.",
    )
