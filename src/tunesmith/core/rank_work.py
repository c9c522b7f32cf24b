"""Work of ranks that one does for all, or each for itself: one result or one error for all of them.

What differs between ranks is settled here, so that none waits for one that has left.
"""

import contextlib
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tunesmith.core import ranks
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.rank_tasks import needs_help
from tunesmith.core.ranks import (
    POLL_SECONDS,
    RankGroup,
    ReportedElsewhere,
    gather,
    is_first,
    left_key,
    meeting,
    named,
)

T = TypeVar("T")

_is_alone = False


def by_first(work: Callable[[], T], *, patient: bool = False) -> T:
    """What rank 0 makes alone, on every rank. Where it fails, the others get ReportedElsewhere.

    ``patient``: the others wait however long it takes, and a signal ends that. Not where they may
    have to help.
    """
    if (group := ranks.group()) is None:
        return work()
    patient = patient and not needs_help()
    if not is_first():
        made = _waited(group) if patient else gather(None)[0]
        if made is None:
            raise ReportedElsewhere("Rank 0 ended.")
        return made[0]  # type: ignore[no-any-return]
    made = None
    try:
        with _working_alone():
            made = (work(),)
    finally:
        with contextlib.suppress(RunError) if made is None else contextlib.nullcontext():
            if patient:
                _tell(group, made)
            else:
                gather(made)
    return made[0]


def works_alone() -> bool:
    """Whether this is rank 0 in what it does while the others wait."""
    return _is_alone


@contextlib.contextmanager
def _working_alone() -> Iterator[None]:
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def _tell(group: RankGroup, value: object) -> None:
    with meeting():
        group.store.set(f"first/{group.meetings}", pickle.dumps(value).hex())


def _waited(group: RankGroup) -> Any:
    """What rank 0 sets, or None where it left. In Python, so that a signal ends it."""
    with meeting():
        key = f"first/{group.meetings}"
        while not group.store.check([key]):
            if group.store.check([left_key(0)]) and not group.store.check([key]):
                return None  # it sets the key before it leaves
            time.sleep(POLL_SECONDS)
        return pickle.loads(bytes.fromhex(group.store.get(key).decode()))  # of a rank of ours


def in_turn(work: Callable[[], T]) -> T:
    """What each rank makes for itself: rank 0, then one of each other machine, then all others.

    So those that come later find the caches filled, however long that takes.
    """
    if (group := ranks.group()) is None:
        return by_each(work)
    first, of_machine = is_first(), ranks.local_rank() == 0
    turn = 0 if first else 1 if of_machine else 2
    group.meetings += 1
    name = f"turn/{group.meetings}"
    before = (0, 1, ranks.machines())[turn]

    def in_my_turn() -> T:
        with meeting():
            while before and int(group.store.add(name, 0)) < before:
                if any(group.store.check([left_key(other)]) for other in range(ranks.size())):
                    raise ReportedElsewhere("Another rank ended.")
                time.sleep(POLL_SECONDS)
        try:
            return work()
        finally:
            if turn < 2:
                group.store.add(name, 1)

    return by_each(in_my_turn)


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


def require_same(name: str, text: str, remedy: str, *, by: object = None) -> None:
    """Raise RunError, on rank 0, where something differs between ranks: ``by``, or its text."""
    found = gather((text if by is None else repr(by), text))

    def compare() -> None:
        numbers: dict[str, list[int]] = {}
        for number, (key, _) in enumerate(found):
            numbers.setdefault(key, []).append(number)
        if len(numbers) > 1:
            parts = "; ".join(f"{named(has)}: {found[has[0]][1]}" for has in numbers.values())
            raise RunError(f"The ranks differ in {name}: {parts}.", remedy=remedy, code="ranks")

    by_first(compare)
