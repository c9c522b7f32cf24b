"""Work that rank 0 leads while the others help it: they make units of it where it hands some out.

An evaluation is led. Its caches, clocks and decisions are those of rank 0, so that nothing has to
be agreed on; and as units are cut without regard to ranks, any number of them gives the same.
"""

import contextlib
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.core import ranks
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.progress import Cancelled
from tunesmith.core.rank_place import RankPlace
from tunesmith.core.rank_tasks import needs_help
from tunesmith.core.rank_work import by_first, works_alone
from tunesmith.core.ranks import POLL_SECONDS, RankGroup, ReportedElsewhere, left_key

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Tool = TypeVar("Tool")
Unit = TypeVar("Unit")
Made = TypeVar("Made")


def _nothing() -> None:
    """For callers that ask for nothing here."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """What ranks make units with: ``tools`` by place, such as the base, the same on each of them.

    ``tensors`` are those that rank 0 may change in place, and which the others are sent then;
    ``refresh`` is called after they received them.
    """

    tools: tuple[object, ...]
    tensors: Sequence["Tensor"] = ()
    refresh: Callable[[], object] = _nothing

    @property
    def version(self) -> tuple[int, ...]:
        """Another one after each change."""
        return tuple(tensor._version for tensor in self.tensors)


@dataclass(slots=True)
class _Lead:
    """Work that rank 0 leads: by what name, how many tasks it handed out, what the others have."""

    group: RankGroup
    place: RankPlace
    name: str
    state: SharedState
    sent: tuple[int, ...]
    tasks: int = 0

    def task_key(self) -> str:
        """Where the next task is announced."""
        return f"{self.name}/{self.tasks}"


@dataclass(frozen=True, slots=True)
class _Task:
    """Units for the tool at a place; ``is_changed``: the tensors are sent first."""

    place: int
    make: Callable[[Any, Any], object]
    units: Sequence[object]
    is_changed: bool


@dataclass(frozen=True, slots=True)
class _Share:
    """What a rank made of its units, or why not: message, remedy and code of what was refused."""

    made: Sequence[object] = ()
    refused: tuple[str, str, str] | None = None
    is_cancelled: bool = False


_lead: _Lead | None = None  # of this rank, in work that it leads


def helpers() -> int:
    """How many ranks share what ``divided`` is given now."""
    return 1 if _lead is None else _lead.place.size


def divided(
    tool: Tool,
    make: Callable[[Tool, Unit], Made],
    units: Iterable[Unit],
    *,
    each: int = 1,
    check: Callable[[], object] = _nothing,
) -> Iterator[Made]:
    """What ``make`` makes of each unit, in their order, as soon as it is made.

    In work that this rank leads the others help, where they have the tool: each rank is given
    ``each`` units at a time, and ``make``, units and results are pickled. ``check`` is called
    before each unit that this rank makes, and may raise Cancelled. What is refused or cancelled on
    another rank is here too.
    """
    lead = _lead
    tools = () if lead is None else lead.state.tools
    place = next((i for i, known in enumerate(tools) if known is tool), None)
    size = 1 if place is None else each * helpers()
    left = iter(units)
    while some := list(islice(left, size)):
        if lead is not None and place is not None and len(some) > 1:
            yield from _handed_out(lead, place, make, some, check)
        else:
            check()
            yield make(tool, some[0])


def together(
    tool: Tool,
    make: Callable[[Tool, Unit], Made],
    units: Sequence[Unit],
    *,
    check: Callable[[], object] = _nothing,
) -> list[Made]:
    """``divided`` where all ranks come to the same units by themselves, and all have the results.

    In work that rank 0 leads it is ``divided``, and in what it does alone it makes all of them.
    """
    if ranks.group() is None or works_alone():
        return list(divided(tool, make, units, check=check))
    fault, shares = _shares(tool, make, units, check)
    return _whole(fault, shares)


def led(work: Callable[[], T], state: SharedState) -> T:
    """What rank 0 makes, on every rank; the others help it, however long it takes.

    Over a base that is divided among them they help with each pass instead. Where it fails, they
    end with ReportedElsewhere.
    """
    global _lead
    if (group := ranks.group()) is None:
        return work()
    if needs_help():
        return by_first(work, patient=True)
    group.meetings += 1  # its name is its own, also where nothing lies between it and the next one
    lead = _Lead(group, ranks.place(), f"led/{group.meetings}", state, state.version)
    end = f"{lead.name}/end"
    if not ranks.is_first():
        made = _helped(lead, end)
        if made is None:
            raise ReportedElsewhere("Rank 0 ended.")
        return made[0]  # type: ignore[no-any-return]
    made = None
    try:
        with ranks.alone():
            _lead = lead
            made = (work(),)
    finally:
        _lead = None
        with contextlib.suppress(RuntimeError) if made is None else contextlib.nullcontext():
            group.store.set(end, pickle.dumps(made).hex())
    return made[0]


def _handed_out(
    lead: _Lead,
    place: int,
    make: Callable[[Any, Any], Any],
    units: Sequence[Any],
    check: Callable[[], object],
) -> list[Any]:
    """What all ranks made of the units that rank 0, this one, has for them."""
    global _lead
    version = lead.state.version
    task = _Task(place, make, units, version != lead.sent)
    _lead = None  # a unit is made without help
    try:
        with ranks.in_group(lead.group, lead.place):
            lead.group.store.set(lead.task_key(), "")
            lead.tasks, lead.sent = lead.tasks + 1, version
            ranks.broadcast(task)
            return _whole(*_made(lead.state, task, check))
    finally:
        _lead = lead


def _helped(lead: _Lead, end: str) -> Any:
    """Make what rank 0 hands out, until it is done: what it made, or None where it left.

    In Python, so that a signal ends it.
    """
    store = lead.group.store
    while not store.check([end]):
        if store.check([lead.task_key()]):
            lead.tasks += 1
            task: Any = ranks.broadcast(None)
            fault, _ = _made(lead.state, task, _nothing)
            if isinstance(fault, Cancelled):
                raise fault
        elif store.check([left_key(0)]) and not store.check([end]):  # which it sets before
            return None
        else:
            time.sleep(POLL_SECONDS)
    return pickle.loads(bytes.fromhex(store.get(end).decode()))  # of a rank of ours


def _made(
    state: SharedState, task: _Task, check: Callable[[], object]
) -> tuple[BaseException | None, list[_Share]]:
    """The shares of a task that all ranks have by now."""
    if task.is_changed:
        _send(state)
    return _shares(state.tools[task.place], task.make, task.units, check)


def _send(state: SharedState) -> None:
    """Give all ranks the tensors of rank 0."""
    import torch
    import torch.distributed as dist

    with ranks.meeting(), torch.no_grad():
        for tensor in state.tensors:
            dist.broadcast(tensor, 0)
    if not ranks.is_first():
        state.refresh()


def _shares(
    tool: Any, make: Callable[[Any, Any], Any], units: Sequence[Any], check: Callable[[], object]
) -> tuple[BaseException | None, list[_Share]]:
    """What keeps this rank from its share of the units, and the shares of all ranks."""
    fault: BaseException | None = None
    share, own = _Share(), ranks.mine(units)
    try:
        # a pass over a base that is divided among ranks takes them all
        with contextlib.nullcontext() if needs_help() else ranks.alone():
            made = []
            for unit in own:
                check()
                made.append(make(tool, unit))
            share = _Share(made)
    except TunesmithError as error:
        fault, share = error, _Share(refused=(error.message, error.remedy, error.code))
    except Cancelled as cancelled:
        fault, share = cancelled, _Share(is_cancelled=True)
    return fault, ranks.gather(share)


def _whole(fault: BaseException | None, shares: Sequence[_Share]) -> list[Any]:
    """The results of all units in their order; raises what keeps any rank from its share."""
    if fault is not None:
        raise fault
    if any(share.is_cancelled for share in shares):
        raise Cancelled
    for number, share in enumerate(shares):
        if share.refused is not None:
            if not ranks.is_first():
                raise ReportedElsewhere("Rank 0 reports what was refused.")
            message, remedy, code = share.refused
            raise RunError(f"Rank {number}: {message}", remedy=remedy, code=code)
    whole: list[Any] = [None] * sum(len(share.made) for share in shares)
    for first, share in enumerate(shares):
        whole[first :: len(shares)] = share.made
    return whole
