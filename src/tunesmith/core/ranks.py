"""Ranks: the processes that torchrun started to work on one thing, and what they tell each other.

A process outside ``running`` is rank 0 of 1, where every function here has nothing to wait for.
Small values go over gloo, also beside GPUs: no device is waited for.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.numbers import pluralize
from tunesmith.core.rank_place import MEETING, RankPlace, place_of

if TYPE_CHECKING:
    import torch.distributed as dist

T = TypeVar("T")

SECONDS = "TUNESMITH_RANK_SECONDS"  # environment: how long ranks wait for one that is late
LOST = "rank_lost"  # the code of the error where ranks are missing
RESTARTS = "TORCHELASTIC_RESTART_COUNT"  # set by torchrun: how often it started the ranks anew
_SECONDS = 1800.0  # the slowest step of a processor, by far
POLL_SECONDS, _LEAVE_SECONDS = 0.1, 2.0
_FIRST_SECONDS = 0.5  # what rank 0 may take to report the same error


class ReportedElsewhere(RunError):
    """Another rank ends all of them, and reports why."""

    code = "reported"


@dataclass(slots=True)
class RankGroup:
    """The ranks that this process works with: tensors of a processor go over gloo, else NCCL."""

    store: "dist.distributed_c10d.Store"
    meetings: int = 0
    tasks: dict[str, Callable[[Any], object]] = field(default_factory=dict)  # that take all ranks


_place: RankPlace = RankPlace()
_group: RankGroup | None = None
_is_follower = False  # this process was a rank after 0


@contextlib.contextmanager
def running() -> Iterator[RankPlace]:
    """Inside, this process is one of the ranks of its environment, which have found each other.

    Raises RunError as ``place_of``, and where the others do not come. Of what ends several ranks
    one raises its error, rank 0 where it has one, and the others ReportedElsewhere.
    """
    global _place, _group, _is_follower
    if _group is not None:
        yield _place
        return
    _place = place_of(os.environ)
    _is_follower = _place.rank > 0
    if _place.size == 1:
        yield _place
        return
    import socket

    _group = _found(_place)
    try:
        hosts = gather((socket.gethostname(), _place.local_rank))
        here = sum(host == hosts[_place.rank][0] for host, _ in hosts)
        machines = sum(local == 0 for _, local in hosts)
        _place = replace(_place, local_size=here, machines=machines)
        yield _place
    except TunesmithError as error:
        if isinstance(error, ReportedElsewhere):
            raise
        if not _is_mine_to_report(_group):
            raise ReportedElsewhere(str(error)) from error
        if rank() and not error.message.startswith("Rank "):
            error.message = f"Rank {rank()}: {error.message}"
        raise
    finally:
        try:
            _leave(_group)
        finally:
            _place, _group = RankPlace(), None


def _found(place: RankPlace) -> RankGroup:
    """The group of all ranks, which meet at the environment's address."""
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    limit = timedelta(seconds=_wait_seconds())
    try:
        store, _, _ = next(rendezvous("env://", timeout=limit))
        # an agent's store outlives the ranks, which it may start once more
        attempt = os.environ.get(RESTARTS) or "0"
        store = dist.distributed_c10d.PrefixStore(f"attempt {attempt}", store)
        store.set_timeout(limit)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=dist.distributed_c10d.PrefixStore("group", store),
            rank=place.rank,
            world_size=place.size,
            timeout=limit,
        )
    except (RuntimeError, ValueError, OSError) as error:
        address = ":".join(os.environ[name] for name in MEETING)
        raise RunError(
            f"Rank {place.rank} of {place.size}: the ranks did not find each other at {address} "
            f"({_first_line(error)}).",
            remedy=f"Start all {place.size}; each machine must reach that address.",
            code="ranks",
        ) from error
    return RankGroup(dist.distributed_c10d.PrefixStore("tunesmith", store))


def _is_mine_to_report(group: RankGroup) -> bool:
    """Whether this rank is the first that has an error; rank 0 is where it has one too."""
    if not is_first():
        time.sleep(_FIRST_SECONDS)
    try:
        return group.store.add("reported", 1) == 1
    except RuntimeError:  # gone with rank 0, which can report nothing any more
        return rank() == 1


def _leave(group: RankGroup) -> None:
    """End the group, rank 0 last: the others may still ask its store. A broken one is dropped."""
    import torch.distributed as dist

    with contextlib.suppress(RuntimeError, ValueError):
        group.store.set(left_key(rank()), "")
        keys = [left_key(other) for other in range(size())]
        until = time.monotonic() + _LEAVE_SECONDS
        while is_first() and time.monotonic() < until and not group.store.check(keys):
            time.sleep(POLL_SECONDS / 4)
    with contextlib.suppress(RuntimeError, ValueError):
        dist.destroy_process_group()


def left_key(number: int) -> str:
    """What a rank puts into the store when it ends."""
    return f"left/{number}"


def rank() -> int:
    """The number of this process among all ranks, from 0."""
    return _place.rank


def size() -> int:
    """How many ranks there are."""
    return _place.size


def local_rank() -> int:
    """The number of this process among the ranks of its machine: that of its GPU."""
    return _place.local_rank


def local_size() -> int:
    """How many ranks share this machine."""
    return _place.local_size


def is_restarted() -> bool:
    """Whether torchrun started these ranks once more, after one of them ended."""
    return bool(int(os.environ.get(RESTARTS) or 0))


def is_first() -> bool:
    """Whether this is rank 0, which locks, records, saves and prints."""
    return _place.rank == 0


def machines() -> int:
    """On how many machines the ranks are."""
    return _place.machines


def group() -> RankGroup | None:
    """The group of all ranks; None where there is but one."""
    return _group


def speaks() -> bool:
    """Whether this process prints: not one that is or was a rank after 0."""
    return not _is_follower


@contextlib.contextmanager
def meeting() -> Iterator[RankGroup | None]:
    """All ranks come here, where there are several; RunError names those that did not."""
    if _group is None:
        yield None
        return
    _group.meetings += 1
    try:
        _group.store.set(f"at/{rank()}", str(_group.meetings))
        yield _group
    except RuntimeError as error:
        if (absence := _absence(_group, error)) is None:
            raise
        raise absence from error


def _absence(group: RankGroup, error: RuntimeError) -> RunError | None:
    """Who is missing, where an error of a meeting means that."""
    text = str(error).lower()
    waited, lost = "timed out" in text or "timeout" in text, "connection" in text
    if not (waited or lost):
        return None
    late: list[int] = []
    with contextlib.suppress(RuntimeError):  # the store is gone with its process
        late = [other for other in range(size()) if _meetings_of(group, other) < group.meetings]
    if not late and size() == 2:  # it came, and went no further
        late = [1 - rank()]
    who = named(late) if late else "a rank"
    wait = pluralize(round(_wait_seconds()), "second")
    what = f"did not come in {wait}: hanging, or far slower"
    return RunError(
        f"Rank {rank()} waited for {who}, which {what if waited else 'has ended'} "
        f"({_first_line(error)}).",
        remedy="What was saved stays: resume with --resume, or let torchrun do it with "
        f"--max-restarts. Where ranks may take longer, set {SECONDS}.",
        code=LOST,
    )


def named(numbers: Sequence[int]) -> str:
    """`rank 0`, `ranks 1, 2`."""
    return f"rank{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _wait_seconds() -> float:
    return float(os.environ.get(SECONDS, _SECONDS))


def _meetings_of(group: RankGroup, other: int) -> int:
    key = f"at/{other}"
    return int(group.store.get(key)) if group.store.check([key]) else 0


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def broadcast(value: T) -> T:
    """Rank 0's small value, on every rank."""
    return gather(value if is_first() else None)[0]  # type: ignore[return-value]


def gather(value: T) -> list[T]:
    """The small value of each rank, by rank, on every rank."""
    own: tuple[tuple[str, object] | None, T] = (None, value)
    found = exchange(own)
    while asked := [task for task, _ in found if task is not None]:
        assert _group is not None
        name, argument = asked[0]
        _group.tasks[name](argument)
        found = exchange(own)
    return [each for _, each in found]


def exchange(value: T) -> list[T]:
    """As ``gather``, without a thought for what others ask for."""
    import torch.distributed as dist

    with meeting() as met:
        if met is None:
            return [value]
        found: list[T | None] = [None] * size()
        dist.all_gather_object(found, value)
    return found  # type: ignore[return-value]


def any_of(flag: bool) -> bool:
    """Whether it is so on any rank: one that is asked to stop, one whose memory ran out."""
    return any(gather(flag))


def mine(items: Sequence[T]) -> Sequence[T]:
    """This rank's share of items that all ranks have: every ``size()``-th; maybe none."""
    return items[rank() :: size()]


def place() -> RankPlace:
    """The place of this process."""
    return _place


def alone() -> contextlib.AbstractContextManager[None]:
    """Inside, this process works as if it were the only one; its number stays."""
    return in_group(None, replace(_place, size=1, machines=1))


@contextlib.contextmanager
def in_group(group: RankGroup | None, place: RankPlace) -> Iterator[None]:
    """Inside, this process has this place in this group, as it had before it was ``alone``."""
    global _group, _place
    before = _group, _place
    _group, _place = group, place
    try:
        yield
    finally:
        _group, _place = before
