"""Ranks: the processes that torchrun started to work on one thing, and what they tell each other.

A process outside ``running`` is rank 0 of 1, where every function here has nothing to wait for.
Small values go over gloo, also beside GPUs: no device is waited for. What differs between ranks is
settled here, so that all of them take the same decisions and none waits for one that has left.
"""

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from tunesmith.core.errors import RunError, TunesmithError

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

T = TypeVar("T")

_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
SECONDS = "TUNESMITH_RANK_SECONDS"  # environment: how long ranks wait for one that is late
_SECONDS = 1800.0  # the slowest step of a processor, by far
_POLL_SECONDS, _LEAVE_SECONDS = 0.1, 2.0


class ReportedElsewhere(RunError):
    """Another rank ends all of them, and reports why."""

    code = "reported"


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Of this process: its number of all ranks, and its number among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


@dataclass(slots=True)
class RankGroup:
    """The ranks that this process works with: ``control`` is gloo, ``data`` the device's own."""

    place: RankPlace
    store: "dist.distributed_c10d.Store"
    control: "dist.ProcessGroup"
    data: "dist.ProcessGroup"
    meetings: int = 0


_place: RankPlace = RankPlace()
_group: RankGroup | None = None


def place_of(environment: Mapping[str, str]) -> RankPlace:
    """The place that torchrun's environment gives; the only process where nothing of it is set.

    Raises RunError where some of it is missing or wrong, or the number of ranks cannot be used.
    """
    given = [name for name in _PLACE[:2] if environment.get(name)]
    if not given or environment.get("WORLD_SIZE") == "1":
        return RankPlace()
    remedy = "Start it with torchrun, or with --ranks N, which set all of it."
    if missing := [name for name in (*_PLACE, *_MEETING) if not environment.get(name)]:
        has = ", ".join(f"{name}={environment[name]}" for name in given)
        raise RunError(
            f"The environment of the ranks is incomplete: {has}, but no {', '.join(missing)}.",
            remedy=remedy,
            code="ranks",
        )
    try:
        rank, size, local = (int(environment[name]) for name in _PLACE)
    except ValueError:
        rank = size = local = -1
    if not (0 <= local <= rank < size):
        has = ", ".join(f"{name}={environment[name]}" for name in _PLACE)
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


@contextlib.contextmanager
def running(device: "Callable[[], torch.device]") -> Iterator[RankPlace]:
    """Inside, this process is one of the ranks of its environment, which have found each other.

    ``device`` finds the device of this rank, whose place is known by then. Raises RunError as
    ``place_of``, and where the others do not come.
    """
    global _place, _group
    if _group is not None:
        yield _place
        return
    _place = place_of(os.environ)
    try:
        if _place.size > 1:
            _group = _joined(_place, device())
        yield _place
    finally:
        try:
            if _group is not None:
                _leave(_group)
        finally:
            _place, _group = RankPlace(), None


def _joined(place: RankPlace, device: "torch.device") -> RankGroup:
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    limit = timedelta(seconds=_wait_seconds())
    backend = {"cuda": "nccl", "xpu": "xccl"}.get(device.type, "gloo")
    try:
        store, _, _ = next(rendezvous("env://", timeout=limit))
        store.set_timeout(limit)
        dist.init_process_group(
            backend,
            store=dist.distributed_c10d.PrefixStore("group", store),
            rank=place.rank,
            world_size=place.size,
            timeout=limit,
            device_id=None if backend == "gloo" else device,
        )
        data = control = dist.group.WORLD
        if backend != "gloo":
            control = dist.new_group(backend="gloo", timeout=limit)
    except (RuntimeError, ValueError, OSError) as error:
        address = ":".join(os.environ[name] for name in _MEETING)
        raise RunError(
            f"Rank {place.rank} of {place.size}: the ranks did not find each other at {address} "
            f"({_first_line(error)}).",
            remedy=f"Start all {place.size}; each machine must reach that address.",
            code="ranks",
        ) from error
    assert data is not None
    assert control is not None
    return RankGroup(place, dist.distributed_c10d.PrefixStore("tunesmith", store), control, data)


def _leave(group: RankGroup) -> None:
    """End the group, rank 0 last: the others may still ask its store. A broken one is dropped."""
    import torch.distributed as dist

    with contextlib.suppress(RuntimeError, ValueError):
        group.store.set(f"left/{rank()}", "")
        keys = [f"left/{other}" for other in range(size())]
        until = time.monotonic() + _LEAVE_SECONDS
        while is_first() and time.monotonic() < until and not group.store.check(keys):
            time.sleep(_POLL_SECONDS / 4)
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process among all ranks, from 0."""
    return _place.rank


def size() -> int:
    """How many ranks there are."""
    return _place.size


def local_rank() -> int:
    """The number of this process among the ranks of its machine: that of its GPU."""
    return _place.local_rank


def is_first() -> bool:
    """Whether this is rank 0, which locks, records, saves and prints."""
    return _place.rank == 0


@contextlib.contextmanager
def meeting() -> Iterator[RankGroup | None]:
    """All ranks come here, where there are several; RunError names those that did not."""
    if (group := _group) is None:
        yield None
        return
    group.meetings += 1
    try:
        group.store.set(f"at/{rank()}", str(group.meetings))
        yield group
    except RuntimeError as error:
        if (absence := _absence(group, error)) is None:
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
    who = _named(late) if late else "a rank"
    what = f"did not come in {_wait_seconds():.0f} seconds: hanging, or far slower"
    return RunError(
        f"Rank {rank()} waited for {who}, which {what if waited else 'has ended'} "
        f"({_first_line(error)}).",
        remedy="What was saved stays: resume with --resume, or let torchrun do it with "
        f"--max-restarts. Where ranks may take longer, set {SECONDS}.",
        code="ranks",
    )


def _named(numbers: Sequence[int]) -> str:
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
    import torch.distributed as dist

    with meeting() as group:
        if group is None:
            return [value]
        found: list[T | None] = [None] * size()
        dist.all_gather_object(found, value, group=group.control)
    return found  # type: ignore[return-value]


def any_of(flag: bool) -> bool:
    """Whether it is so on any rank: one that is asked to stop, one whose memory ran out."""
    return any(gather(flag))


def mine(items: Sequence[T]) -> Sequence[T]:
    """This rank's share of items that all ranks have: every ``size()``-th; maybe none."""
    return items[rank() :: size()]


def joined(results: Sequence[T]) -> list[T]:
    """The results of all items, in their order, on every rank, from those of each rank's share."""
    shares = gather(list(results))
    whole: list[T] = [None] * sum(map(len, shares))  # type: ignore[list-item]
    for first, share in enumerate(shares):
        whole[first :: len(shares)] = share
    return whole


def by_first(work: Callable[[], T]) -> T:
    """What rank 0 makes alone, on every rank; the others wait however long it takes.

    Where it fails, they end with ReportedElsewhere.
    """
    if (group := _group) is None:
        return work()
    group.meetings += 1
    key = f"first/{group.meetings}"
    if not is_first():
        return _received(group, key)
    try:
        value = work()
    except BaseException:
        with contextlib.suppress(RuntimeError):
            group.store.set(key, pickle.dumps((False, None)))
        raise
    group.store.set(key, pickle.dumps((True, value)))
    return value


def _received(group: RankGroup, key: str) -> T:  # type: ignore[type-var]
    try:
        while not group.store.check([key]):
            time.sleep(_POLL_SECONDS)  # in Python, so that a signal ends it
        is_made, value = pickle.loads(group.store.get(key))  # of a rank of ours
    except RuntimeError as error:
        raise _absence(group, error) or error from error
    if not is_made:
        raise ReportedElsewhere("Rank 0 ended.")
    return value  # type: ignore[no-any-return]


def by_each(work: Callable[[], T]) -> T:
    """What each rank makes for itself; where one is refused, all are, and rank 0 names it.

    Raises its error on that rank and on rank 0, and ReportedElsewhere on the others.
    """
    own: TunesmithError | None = None
    try:
        value = work()
    except TunesmithError as error:
        own = error
    fault = None if own is None else (own.message, own.remedy, own.code)
    refused = [(number, each) for number, each in enumerate(gather(fault)) if each is not None]
    if not refused:
        return value
    if not is_first():
        raise ReportedElsewhere("Rank 0 reports what was refused.")
    if own is not None:
        raise own
    (number, (message, remedy, code)), *_ = refused
    raise RunError(f"Rank {number}: {message}", remedy=remedy, code=code)


def require_same(name: str, value: object, remedy: str) -> None:
    """Raise RunError, on rank 0, where a value differs between ranks."""

    def compare() -> None:
        if len(set(found)) > 1:
            groups = {each: [n for n, other in enumerate(found) if other == each] for each in found}
            text = "; ".join(f"{_named(numbers)}: {each}" for each, numbers in groups.items())
            raise RunError(f"The ranks differ in {name}: {text}.", remedy=remedy, code="ranks")

    found = gather(str(value))
    by_first(compare)
