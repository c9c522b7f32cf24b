"""Which of several changes stand when all of them are read together? Holm's procedure."""

from collections.abc import Callable, Mapping

Change = Callable[[float], int]  # at a level: 1 rose, -1 fell, 0 neither


def standing(changes: Mapping[str, Change], *, level: float) -> dict[str, int]:
    """The changes that remain, by name: 1 rose, -1 fell.

    Each function says what an interval of the level that it is given leaves out. The chance that
    any change is named where there is none is 1 - level at most, however the rows of one check
    hang together with those of another (Holm 1979, Scand. J. Stat. 6:65); Bonferroni's rule
    would find fewer.
    """
    waiting, found = dict(changes), dict[str, int]()
    while waiting:
        strict = 1 - (1 - level) / len(waiting)
        now = {name: sign for name, change in waiting.items() if (sign := change(strict))}
        if not now:
            break
        found |= now
        waiting = {name: change for name, change in waiting.items() if name not in now}
    return {name: found[name] for name in changes if name in found}
