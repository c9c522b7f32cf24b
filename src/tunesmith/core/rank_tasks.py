"""Tasks that take all ranks, where one rank works alone and the others wait for its result.

Over a sharded base a single pass takes the parts of every rank. The rank that makes one asks for
it, in the exchange in which the others wait (``ranks.gather``); they do their part and wait again.
"""

from collections.abc import Callable
from typing import Any

from tunesmith.core import ranks


def helping(name: str, task: Callable[[Any], object]) -> None:
    """From now on this rank does a task where others ask for it, while it waits for their values.

    The task gets the argument with which it was asked for.
    """
    if (group := ranks.group()) is not None:
        group.tasks[name] = task


def ask_for(name: str, argument: object = None) -> None:
    """Before a task: the ranks that wait for values of others do it together with this one.

    Others that do a task at the same time do the same one, and have asked for it too. ``argument``
    is sent to them, and small.
    """
    ranks.exchange(((name, argument), None))


def settle() -> None:
    """Before what all ranks do alike: this one helps with what others still ask for.

    It waits for all of them; nothing where there are no tasks.
    """
    if needs_help():
        ranks.gather(None)


def needs_help() -> bool:
    """Whether there are tasks that take all ranks."""
    group = ranks.group()
    return group is not None and bool(group.tasks)
