"""Which data warnings are about training rows, and how much of the loss is theirs?"""

import math
from collections.abc import Iterable, Sequence

from tunesmith.data.faults import Note
from tunesmith.data.quality.contradictions import CHOICES
from tunesmith.evaluate.overtuning.evidence import Warned
from tunesmith.evaluate.overtuning.gap import difference_of_means

CODES = ("contradictions", "duplicates", "near_duplicates", "leakage", "languages", "long_tail")


def warned_of(
    notes: Iterable[Note],
    *,
    rows: int,
    lines: Sequence[int],
    losses: Sequence[float],
    seed: int,
) -> dict[str, Warned]:
    """By code, of the notes that are about single rows of ``rows``.

    ``lines`` and ``losses`` are those of a sample of the training rows. Where a note lists all of
    its rows, those in the sample are set against the others in it.
    """
    found = {}
    for note in notes:
        if note.code in CODES and rows:
            listed = set(note.lines) if len(note.lines) == note.count else set()
            inside = [loss for line, loss in zip(lines, losses, strict=True) if line in listed]
            outside = [loss for line, loss in zip(lines, losses, strict=True) if line not in listed]
            both = len(inside) > 1 and len(outside) > 1
            total = math.fsum(losses)
            found[note.code] = Warned(
                note.code,
                note.count,
                min(1.0, note.count / rows),
                difference_of_means(outside, inside, seed=seed) if both else None,
                math.fsum(inside) / total if inside and total > 0 else None,
                choices=CHOICES in note.message,
            )
    return found
