"""What follows from all rows together: warnings, rows left out by name, rows held out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tunesmith.config.drop import TOO_LONG
from tunesmith.config.run import DataSettings
from tunesmith.counts import many
from tunesmith.data.faults import Note, Problem
from tunesmith.data.quality.watch import Quality
from tunesmith.data.rows import Conversation
from tunesmith.data.split import Groups, Prompts, choose_held
from tunesmith.errors import DataError


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers of the conversations that are ``dropped`` by name, and of those ``held`` out.

    ``problem`` is why a run would refuse all of them.
    """

    dropped: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    problem: Problem | None = None


OVERVIEW = TypeAdapter(Overview)


def look_over(
    train: Sequence[Iterable[Conversation]],
    held: Iterable[Conversation],
    settings: DataSettings,
    *,
    seed: int,
    long: NDArray[np.int64],
    seen: Callable[[], object],
) -> Overview:
    """See every conversation once: first those of a file that is held out, then the others.

    ``long`` are training conversations that are left out for their length. ``seen`` is called for
    each and may raise.
    """
    quality, prompts = Quality(), Prompts()
    share = settings.held_share
    for conversation in held:
        quality.hold(conversation)
        seen()
    for conversation in chain.from_iterable(train):
        quality.observe(conversation)
        if share:
            prompts.observe(conversation)
        seen()
    dropped = quality.drop([name for name in settings.drop if name != TOO_LONG])
    notes = (*dropped.notes, *quality.warnings(dropped))
    del quality  # some hundred bytes for each row
    left, out = ~dropped.rows, tuple(np.flatnonzero(dropped.rows).tolist())
    if out and not left.any():
        return Overview(out, notes=notes, problem=_all_dropped(len(left), settings))
    left[long] = False
    kept = np.flatnonzero(left)
    if not share or not len(kept):
        return Overview(out, notes=notes)
    groups = prompts.groups()
    some = Groups(groups.number[kept], groups.keys[kept], groups.notes, groups.noun)
    try:
        chosen = choose_held(some, share=share, seed=seed)
    except DataError as error:
        problem = Problem(error.code, error.message, error.remedy)
        return Overview(out, notes=notes, problem=problem)
    return Overview(out, tuple(kept[chosen].tolist()), (*notes, *groups.notes))


def _all_dropped(rows: int, settings: DataSettings) -> Problem:
    what = f"all {many(rows, 'row')} were left out by --data.drop {','.join(settings.drop)}"
    return Problem(
        "no_rows",
        f"no row is left to train on: {what}.",
        "Name less, or mend the rows: `tunesmith data check` lists them.",
    )
