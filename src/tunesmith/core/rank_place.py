"""The place of this process among the ranks that torchrun started, by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.core.errors import RunError

PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
MEETING = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Of this process: its number of all ranks, and its number among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    machines: int = 1


def place_of(environment: Mapping[str, str]) -> RankPlace:
    """The place that torchrun's environment gives; the only process where nothing of it is set.

    Raises RunError where some of it is missing or wrong, or the number of ranks cannot be used.
    """
    given = [name for name in PLACE[:2] if environment.get(name)]
    if not given or environment.get("WORLD_SIZE") == "1":
        return RankPlace()
    remedy = "Start it with torchrun, or with --ranks N, which set all of it."
    if missing := [name for name in (*PLACE, *MEETING) if not environment.get(name)]:
        has = ", ".join(f"{name}={environment[name]}" for name in given)
        raise RunError(
            f"The environment of the ranks is incomplete: {has}, but no {', '.join(missing)}.",
            remedy=remedy,
            code="ranks",
        )
    try:
        rank, size, local = (int(environment[name]) for name in PLACE)
    except ValueError:
        rank = size = local = -1
    if not (0 <= local <= rank < size):
        has = ", ".join(f"{name}={environment[name]}" for name in PLACE)
        raise RunError(
            f"The environment of the ranks is wrong: {has}.", remedy=remedy, code="ranks"
        )
    require_power_of_two(size)
    return RankPlace(rank, size, local)


def require_power_of_two(size: int) -> None:
    """Raise RunError for a number of ranks that no binary tree of equal halves has."""
    if size < 1 or size & (size - 1):
        below = 1 << max(0, size.bit_length() - 1)
        raise RunError(
            f"{size} ranks: their gradients are summed in pairs, so that any number of ranks gives "
            "the same bytes; that takes 1, 2, 4, 8, ... of them.",
            remedy=f"Start {below} or {2 * below}.",
            code="ranks",
        )
