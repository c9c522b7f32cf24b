"""With which weights does the linear combination of adapters lose least of all of them?

An adapter that says much where it was not asked drowns another at equal weights. So one weight
after another is lowered, the one and to the share that help most, as long as any does.
"""

from dataclasses import replace
from pathlib import Path

from tunesmith.adapters.combine import folder, table
from tunesmith.adapters.combine.factor import Fit
from tunesmith.workflows.candidates import Blend, Way
from tunesmith.workflows.course import Clock, Course
from tunesmith.workflows.keeping import Keeping

SHARES = (0.8, 0.6, 0.4)  # of the weight that is given
PASSES = 2  # weights that are lowered at most
WORTH = 0.01  # nats a token: a smaller gain is none
LINEAR = "linear"


def balanced(blend: Blend, keeping: Keeping, scratch: Path, course: Course) -> Way | None:
    """The linear way with the weights by which the task that loses most loses least; None where
    those that are given do. KeyboardInterrupt where the course says stop.
    """
    search = _Search(blend, keeping, scratch, course)
    given = best = tuple(blend.weights)
    for _ in range(PASSES):
        better = min(search.lowered(best, given), key=search.lost)
        if search.lost(better) > search.lost(best) - WORTH:
            break
        best = better
    if best == given:
        return None
    name = f"{LINEAR} {', '.join(f'{weight:g}' for weight in best)}"
    return Way(name, table.made(LINEAR), blend.rank, best)


class _Search:
    """Linear combinations by their weights, each made and read once."""

    def __init__(self, blend: Blend, keeping: Keeping, scratch: Path, course: Course) -> None:
        self.blend, self.keeping, self.scratch = blend, keeping, scratch
        self.clock = Clock(course)
        self.known: dict[tuple[float, ...], float] = {}

    def lowered(
        self, weights: tuple[float, ...], given: tuple[float, ...]
    ) -> list[tuple[float, ...]]:
        """These weights with one of them at a share of what was given."""
        return [
            (*weights[:place], share * given[place], *weights[place + 1 :])
            for place in range(len(weights))
            for share in SHARES
        ]

    def lost(self, weights: tuple[float, ...]) -> float:
        """By the task that loses most."""
        if weights not in self.known:
            most = 1 + PASSES * len(weights) * len(SHARES)
            self.clock.at("weighing the adapters", len(self.known), most)
            blend = replace(self.blend, weights=weights)
            made = folder.save(
                self.scratch / f"weights-{len(self.known)}",
                blend.combination(table.made(LINEAR)),
                Fit(rank=blend.rank, seed=blend.seed),
            )
            self.known[weights] = max(self.keeping.lost(made.folder).values())
        return self.known[weights]
